"""Shares and who has which: an idle actor takes the next; one that dies is replaced."""

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...config import Config, ConfigError
from ...errors import SedimentalError
from ...progress import Progress
from ..engine import EngineError
from ..shards import Shard
from .actor import Actor, ActorInfo, Done, Landmark, News
from .placement import Place

EVERY = 0.5
"""Seconds between two looks at what the actors have done."""
COMING = 30.0
"""Seconds that the run waits for all actors; who comes later joins it all the same."""
PATIENCE = 300.0
"""Seconds until one actor must be there."""
GRACE = 30.0
"""Seconds for actors to store what they have when they are told to stop."""
TRIES = 2
"""Times that a share is begun; then its clips have failed."""


@dataclass
class Bounded:
    """Passes progress on, but no more than there was to do: some of it may be done twice."""

    progress: Progress
    left: dict[str, int]

    def advance(self, task: str, by: int) -> None:
        """`by` more clips, at most as many as are left; an actor's own survey is not shown."""
        if task not in self.left:
            return
        by = min(by, self.left[task])
        self.left[task] -= by
        if by:
            self.progress.advance(task, by)

    def note(self, message: str) -> None:
        """Pass the line on."""
        self.progress.note(message)


@dataclass(eq=False)
class Member:
    """One place, and the actor that has it now."""

    name: str
    place: Place
    actor: Any
    about: ActorInfo | None = None
    """None: it is coming up, or never will."""
    shard: Shard | None = None
    """What it is working on."""


class Pool:
    """All actors of a run. They begin to come up when it is made.

    `ray` is the module, connected; `landmarks` are what every actor has to see.
    """

    def __init__(
        self, ray: Any, config: Config, landmarks: Sequence[Landmark], chosen: Sequence[Place]
    ) -> None:
        self._ray, self._config, self._landmarks = ray, config, landmarks
        self._hand: Any = ray.remote(Actor)
        self._waits: dict[Any, Member] = {}
        """Calls that take long, by their reference: a share, or coming up."""
        self._asked: dict[Any, Member] = {}
        """Calls for news that were not answered yet."""
        self._why = "Ray has no room for one now"
        self.devices: dict[str, str] = {}
        """Of each member that was ever there."""
        self.done: list[tuple[str, Done]] = []
        """Every share that was finished, with the name of the member that did."""
        self.members = [
            Member(f"{place.host}/{number}", place, None) for number, place in enumerate(chosen)
        ]
        for member in self.members:
            self._start(member)

    @property
    def abouts(self) -> tuple[ActorInfo, ...]:
        """Of the actors that are there, what they say of themselves."""
        return tuple(member.about for member in self.members if member.about)

    def assemble(self) -> None:
        """Wait for the actors; raises EngineError if none comes."""
        began = time.monotonic()
        while self._waits:
            waited = time.monotonic() - began
            if waited > (COMING if self.abouts else PATIENCE):
                break
            for member, outcome in self._settled():
                self._arrived(member, outcome)
        if not self.abouts:
            raise EngineError(f"--engine ray: no actor came up: {self._why}.")

    def work(self, shards: Sequence[Shard], listener: Bounded) -> dict[Shard, str]:
        """Have every share done. Returns those that were lost `TRIES` times, each with the reason.

        A fault that the next actor would meet as well (SedimentalError, ConfigError) is raised, and
        EngineError when no actor is left. On Ctrl-C the actors are told to store what they have.
        """
        queue, tries, lost = deque(shards), Counter[Shard](), dict[Shard, str]()
        idle = deque(member for member in self.members if member.about)
        since = time.monotonic()
        try:
            while queue or self._working:
                while queue and idle:
                    self._give(idle.popleft(), queue.popleft())
                if self._working:
                    since = time.monotonic()
                elif not self._waits or time.monotonic() - since > PATIENCE:
                    raise EngineError(
                        f"--engine ray: no actor is left: {self._why}. What was written is kept, "
                        "the next run goes on from there."
                    )
                for member, outcome in self._settled():
                    shard, member.shard = member.shard, None
                    if shard is None:
                        if self._joined(member, outcome, listener):
                            idle.append(member)
                    elif isinstance(outcome, Exception):
                        reason = self._handle_failure(member, outcome, listener)
                        tries[shard] += 1
                        if tries[shard] < TRIES:
                            queue.appendleft(shard)
                        else:
                            lost[shard] = (
                                f"lost with {TRIES} processes that had its share: {reason}"
                            )
                    else:
                        self.done.append((member.name, outcome))
                        _tell(member, outcome.news, listener)
                        idle.append(member)
                self._hear(listener)
        except KeyboardInterrupt:
            self._stop()
            raise
        return lost

    def kill(self) -> None:
        """End every actor at once; what they have written is whole."""
        for member in self.members:
            if member.actor is not None:
                self._ray.kill(member.actor)
            member.actor = member.about = member.shard = None
        self._waits.clear()
        self._asked.clear()

    @property
    def _working(self) -> bool:
        return any(member.shard for member in self.members)

    def _start(self, member: Member) -> None:
        """An actor for the member's place, that says who it is once it is up."""
        place, member.about = member.place, None
        affinity = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        member.actor = self._hand.options(
            num_cpus=place.cpus,
            num_gpus=int(place.gpu),
            max_concurrency=3,  # a share, a question, a word to stop
            scheduling_strategy=affinity(node_id=place.node, soft=False),
        ).remote(self._config, max(1, place.cpus), place.gpu)
        self._waits[member.actor.about.remote(self._landmarks)] = member

    def _give(self, member: Member, shard: Shard) -> None:
        member.shard = shard
        self._waits[member.actor.share.remote(shard)] = member

    def _settled(self) -> Iterator[tuple[Member, Any]]:
        """Long calls that have ended by now, each with its value or what it died of."""
        ready, _ = self._ray.wait(list(self._waits), timeout=EVERY)
        for reference in ready:
            member = self._waits.pop(reference)
            try:
                yield member, self._ray.get(reference)
            except self._ray.exceptions.RayError as fault:
                yield member, fault

    def _arrived(self, member: Member, outcome: Any) -> None:
        if isinstance(outcome, ActorInfo):
            member.about = outcome
            self.devices[member.name] = outcome.device
        else:
            member.actor, self._why = None, _one_line(outcome)

    def _joined(self, member: Member, outcome: Any, listener: Bounded) -> bool:
        """Whether an actor that came up during the work can take part in it."""
        self._arrived(member, outcome)
        if member.about is None:
            listener.note(f"{member.name}: not replaced: {self._why}")
        elif missed := member.about.missed:
            listener.note(f"{member.name}: takes no part, it does not see {missed[0].path}")
            member.about = None
        return member.about is not None

    def _handle_failure(self, member: Member, fault: Exception, listener: Bounded) -> str:
        """Replace an actor that has failed; returns the reason, raises what is no actor's fault."""
        cause = getattr(fault, "cause", None)
        if isinstance(cause, (SedimentalError, ConfigError)):
            listener.note(f"{member.name} says why this ends here:")
            raise cause
        if cause is not None:  # a defect, ours or a driver's: who reports it needs where it was
            listener.note(str(fault))
        self._why = reason = _one_line(cause or fault)
        listener.note(f"{member.name}: lost, another takes its share: {reason}")
        self._ray.kill(member.actor)
        self._start(member)
        return reason

    def _hear(self, listener: Bounded) -> None:
        """Ask those that work what is new, and pass on what was answered."""
        waiting = set(self._asked.values())
        for member in self.members:
            if member.shard and member not in waiting:
                self._asked[member.actor.news.remote()] = member
        if not self._asked:
            return
        ready, _ = self._ray.wait(list(self._asked), num_returns=len(self._asked), timeout=EVERY)
        for reference in ready:
            member = self._asked.pop(reference)
            # if it died meanwhile, its share ends with the same fault, and says so
            with suppress(self._ray.exceptions.RayError):
                _tell(member, self._ray.get(reference), listener)

    def _stop(self) -> None:
        sharing = [ref for ref, member in self._waits.items() if member.shard]
        for member in self.members:
            if member.shard:
                member.actor.stop.remote()
        if sharing:
            self._ray.wait(sharing, num_returns=len(sharing), timeout=GRACE)


def _tell(member: Member, news: News, listener: Bounded) -> None:
    for task, count in news.advances.items():
        listener.advance(task, count)
    for note in news.notes:
        listener.note(f"{member.name}: {note}")


def _one_line(fault: BaseException) -> str:
    """What went wrong, without the names that Ray gives to actors."""
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    words = [
        line for line in lines if not line.startswith(("class_name", "actor_id", "pid", "name"))
    ]
    return f"{type(fault).__name__}: {' '.join(words)}".rstrip(".")
