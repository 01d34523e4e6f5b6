"""`--engine ray`: shares of a corpus on Ray actors, one a GPU, that fill the same stores at once.

A share is what `--shard i/n` takes, done by the very same `extract`; so what is new here is who
does which. Shares are dealt out by length, hence equal for equal machines, and where the corpus is
large there are more of them than actors: whoever is done takes the next, and a slow machine delays
nobody. An actor loads its encoders once a share, which is why a share is never small. The driver
surveys before and takes stock after, from the stores themselves, as if it had done the work.
"""

import contextlib
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from ...cache.failures import forget_failures, read_failures
from ...cache.store.atomic_write import TEMPORARY
from ...config import Config
from ...progress import Progress
from ..decode.clip_error import ClipError
from ..doctor import LISTED, Diagnosis, Finding, diagnose
from ..shards import Shard
from ..stage_times import Clock, StageTime
from ..survey import Survey
from .actor import ActorInfo, Landmark
from .cluster import connected, load_ray
from .placement import places
from .pool import Bounded, Member, Pool

SHARES = 4
"""Most shares an actor: the last to finish keeps the others waiting for a quarter of its time."""
CLIPS = 512
"""Fewest clips for which an actor loads its encoders once more: some full parts."""


def share_count(clips: int, actors: int) -> int:
    """Into how many shares `clips` are cut.

    >>> share_count(300, 4), share_count(2_199, 2), share_count(22_856, 8)
    (4, 4, 32)
    """
    return actors * max(1, min(SHARES, clips // (actors * CLIPS)))


class RayEngine:
    """Actors of a running cluster (`address`, or RAY_ADDRESS), else of one of its own.

    A block, at whose end the actors are gone, and the cluster if it was its own. Raises EngineError
    without Ray, and ConfigError for a device or a number of `actors` that Ray does not have.
    """

    def __init__(
        self, config: Config, address: str | None = None, actors: int | None = None
    ) -> None:
        self._ray, self._config = load_ray(), config
        self._address, self._actors = address, actors
        self._pool: Pool | None = None
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit.close()

    @property
    def device(self) -> str:
        devices = Counter(self._pool.devices.values() if self._pool else ())
        return ", ".join(f"{n} x {device}" for device, n in devices.items()) or "ray"

    @property
    def crew(self) -> Sequence[Member]:
        """The actors, with what each has in hand."""
        return self._pool.members if self._pool else ()

    def diagnose(self, found: Survey) -> Diagnosis:
        """Start the actors, and ask each what it is and whether it sees corpus and cache."""
        self._exit.enter_context(connected(self._ray, self._address))
        chosen = places(self._ray.nodes(), self._config.extract.device, self._actors)
        marks = self._exit.enter_context(_landmarks(found))
        self._pool = pool = Pool(self._ray, self._config, marks, chosen)
        self._exit.callback(pool.kill)
        pool.assemble()
        # this machine need not have what the actors have
        on_cpu = found.config.extract.model_copy(update={"device": "cpu"})
        draft = diagnose(replace(found, config=found.config.model_copy(update={"extract": on_cpu})))
        hosts = sorted({about.host for about in pool.abouts})
        where = ", ".join(hosts) if len(hosts) <= LISTED else f"{len(hosts)} machines"
        return replace(
            draft,
            device=f"{self.device} (Ray on {where})",
            precision=" and ".join(sorted({about.precision for about in pool.abouts})),
            workers=sum(about.workers for about in pool.abouts),
            findings=(*draft.findings, *unseen(pool.abouts)),
        )

    def fill(self, found: Survey, diagnosis: Diagnosis, clock: Clock, progress: Progress) -> None:
        """Have every share done; what two actors died of is left in the works as failures."""
        assert self._pool is not None  # `diagnose` comes first
        pool, folder = self._pool, found.config.corpus_cache
        todo = {
            work.name: len(each.wanted) for work, each in zip(found.works, found.todo, strict=True)
        }
        count = share_count(max(todo.values()), len(pool.members))
        shards = [Shard(index, count) for index in range(1, count + 1)]
        for shard in shards:
            forget_failures(folder / shard.failures)
        for task, total in todo.items():
            if total:
                progress.start(task, total)
        try:
            lost = pool.work(shards, Bounded(progress, todo))
            for shard, reason in lost.items():
                _lose(found, shard, reason)
        finally:
            pool.kill()  # before stock is taken
            _take_lists(found, shards)
            for work in found.works:
                name = work.writer.path.name
                work.truncated += sum(done.truncated[name] for _, done in pool.done)
            _add_up(clock, [(name, done.stages) for name, done in pool.done])


@contextlib.contextmanager
def _landmarks(found: Survey) -> Iterator[tuple[Landmark, ...]]:
    """What the actors must see: the corpus, and a file that lies in the cache just now."""
    config = found.config
    token = config.corpus_cache / f"{TEMPORARY}ray-{secrets.token_hex(8)}"
    marks = []
    if config.corpus.path is not None:
        marks.append(Landmark.at(config.corpus.path, "corpus.path"))
    media = (found.manifest.root / clip.media for clip in found.manifest.clips if clip.media)
    if there := next((path for path in media if path.is_file()), None):
        marks.append(Landmark.at(there, "media of the corpus"))
    token.write_text("seen by every machine that shares this folder\n", encoding="utf-8")
    try:
        yield (*marks, Landmark.at(token, "cache.root"))
    finally:
        token.unlink(missing_ok=True)


def unseen(abouts: Sequence[ActorInfo]) -> tuple[Finding, ...]:
    """What is in the way where actors do not see what they should."""
    missed: dict[Landmark, set[str]] = {}
    for about in abouts:
        for mark in about.missed:
            missed.setdefault(mark, set()).add(about.host)
    return tuple(
        Finding(
            "error",
            f"{mark.what}: {', '.join(sorted(hosts))} does not see {mark.path} as this machine "
            "does. Put corpus and cache on storage that every machine mounts at the same path.",
        )
        for mark, hosts in missed.items()
    )


def _take_lists(found: Survey, shards: Sequence[Shard]) -> None:
    """The failures that the shares listed into the works, for the one list of the whole run."""
    folder = found.config.corpus_cache
    works = {(w.stream.spec.modality, w.stream.spec.encoder): w for w in found.works}
    for shard in shards:
        for failure in read_failures(folder / shard.failures):
            if work := works.get((failure.modality, failure.encoder)):
                work.failures[failure.clip] = ClipError(failure.stage, failure.reason)
        forget_failures(folder / shard.failures)


def _lose(found: Survey, shard: Shard, reason: str) -> None:
    """Clips of a share that killed two actors, as far as they were not stored, have failed."""
    mine = {clip.id for clip in replace(found, shard=shard).mine}
    for work, todo in zip(found.works, found.todo, strict=True):
        for id_ in todo.wanted & mine - work.writer.present().keys():
            work.failures[id_] = ClipError("share", reason)


def _add_up(clock: Clock, shares: Sequence[tuple[str, Sequence[StageTime]]]) -> None:
    """Times of shares, by actor, as times of one run: a stage has the threads of all its actors."""
    threads: dict[tuple[str, str], dict[str, int]] = {}
    for actor, stages in shares:
        for s in stages:
            threads.setdefault((s.stage, s.unit), {})[actor] = s.threads
    for (stage, unit), of_actors in threads.items():
        clock.stage(stage, unit, sum(of_actors.values()))
    for _, stages in shares:
        for s in stages:
            clock.add(s.stage, s.busy, s.items, s.cpu)
