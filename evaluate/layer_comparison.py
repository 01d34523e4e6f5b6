"""What a sweep says, ready to be shown: layers side by side, and the picked against the usual."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..cache.spec import LETTERS, MODALITIES, Modality
from ..cache.sweeps import Point, Sweep
from .protocols import CorpusProtocol, protocol_of
from .statistics import Spread

WORDS = {"last": "last layers", "picked": "picked layers", "weighted": "weighted sum"}


@dataclass(frozen=True)
class Line:
    """One point as a table shows it."""

    arm: str
    letters: str
    choice: str
    """``layer 21``, ``last layer (24)``, ``weighted sum``, ``picked layers``."""
    layers: str
    """What is read: ``21``, or ``T 20, A 21, V 15``."""
    point: Point
    picked: bool
    """Whether validation picked it among its kind."""
    tied: bool
    """Whether it is as good as the best of its kind within the error, on validation."""
    linear: bool
    """Whether it is a probe's."""

    def spread(self, split: str, key: str) -> Spread:
        """A metric over seeds."""
        return Spread(self.point.scores["valid" if split == "valid" else "test"].get(key, ()))

    def held_out(self, key: str) -> Spread:
        """A metric on clips that were not learned from: over the folds of a probe, over seeds on
        validation of a model. Layers are picked by it."""
        folds = self.point.folds.get(key)
        return self.spread("valid", key) if folds is None else Spread(folds)


def protocol_of_sweep(sweep: Sweep) -> CorpusProtocol:
    """What its metrics mean."""
    return protocol_of(sweep.classes or sweep.protocol)


def metric_keys(sweep: Sweep) -> tuple[str, str]:
    """The two metrics that are shown layer by layer: the one that picks, and the other of two."""
    protocol = protocol_of_sweep(sweep)
    other = protocol.second if sweep.criterion != protocol.second else protocol.first
    return sweep.criterion, other


def layer_lines(sweep: Sweep) -> tuple[Line, ...]:
    """Every single layer of every modality, arm by arm."""
    return tuple(
        _line(sweep, point, f"layer {point.choice}", sweep.picks[arm].get(modality) == point.choice)
        for arm in sweep.arms
        for modality in sweep.encoders
        for point in sweep.curve(arm, modality)
    )


def is_compared(sweep: Sweep, line: Line) -> bool:
    """Whether a single layer is one of those whose test scores are shown: the picked and the last.

    Of the others none is looked at on test, so that no reader picks one there.
    """
    last = {encoder.last for m, encoder in sweep.encoders.items() if LETTERS[m] == line.letters}
    return line.picked or line.point.choice in last


def recommendation_words(sweep: Sweep, arm: str) -> str:
    """What validation says of the recommended choice, in one sentence; empty for a probe."""
    best = sweep.recommended.get(arm)
    if best is None:
        return ""
    show = protocol_of_sweep(sweep).metric(sweep.criterion).show
    name, over = _named(best.choice, best.letters), "folds" if sweep.parts else "seeds"
    head = f"{best.letters}: {name}, valid {sweep.criterion} {show(best.value)}"
    if not best.runner_up:
        return f"{head}; nothing else was tried."
    sure = (
        f"more than {best.clips} clips and the {over} leave to chance"
        if best.clear
        else f"no difference that {best.clips} clips can show"
    )
    error = "" if best.error is None else f", standard error {show(best.error)}"
    return (
        f"{head}, {show(best.margin)} ahead of {_named(best.runner_up, best.letters)} "
        f"(spread over {over} {show(best.spread)}{error}): {sure}."
    )


def _named(choice: str, letters: str) -> str:
    several = len(letters) > 1
    return {
        "picked": "the picked layers" if several else "the picked layer",
        "last": "the last layers" if several else "the last layer",
        "weighted": "the weighted sum",
    }.get(choice, f"layer {choice}")


def comparisons(sweeps: Sequence[Sweep]) -> tuple[Line, ...]:
    """Last layer, picked layer and weighted sum of each modality, then of all together.

    As in Tables 3 and 2 of UEGD. The picked points of a probe, where there is one, come after those
    of the models: what a linear fit makes of the same choice.
    """
    grids = [sweep for sweep in sweeps if sweep.kind == "sweep"]
    probes = [sweep for sweep in sweeps if sweep.kind == "probe"]
    subsets = dict.fromkeys(
        letters
        for sweep in sweeps
        for letters in sorted({p.letters for p in sweep.points}, key=_order)
    )
    lines: list[Line] = []
    for letters in sorted(subsets, key=_order):
        for sweep in (*grids, *probes):
            for arm in sweep.arms:
                lines += _of_subset(sweep, arm, letters)
    return tuple(lines)


def _of_subset(sweep: Sweep, arm: str, letters: str) -> Iterator[Line]:
    if len(letters) > 1:
        for choice in ("last", "picked", "weighted"):
            point = sweep.find(arm, letters, choice)
            if point is not None:
                yield _line(sweep, point, WORDS[choice], choice == "picked")
        return
    modality = modality_of(letters)
    encoder, chosen = sweep.encoders.get(modality), sweep.picks[arm].get(modality)
    if encoder is None or chosen is None:
        return
    names = {
        encoder.last: f"last layer ({encoder.last})",
        chosen: f"picked layer ({chosen})",
        "weighted": WORDS["weighted"],
    }
    if chosen == encoder.last:
        names[chosen] = f"picked layer ({chosen}, the last)"
    if sweep.kind == "probe":
        names = {k: words for k, words in names.items() if k != "weighted"}
    for choice, words in names.items():
        point = sweep.find(arm, letters, choice)
        if point is not None:
            yield _line(sweep, point, words, choice == chosen)


def modality_of(letter: str) -> Modality:
    """The modality of that letter."""
    return next(m for m in MODALITIES if LETTERS[m] == letter)


def _line(sweep: Sweep, point: Point, words: str, picked: bool) -> Line:
    layers = [f"{LETTERS[m]} {layer}" for m, layer in point.layers.items()]
    alone = next(iter(point.layers.values()))
    ties = sweep.ties(point.arm, modality_of(point.letters)) if len(point.letters) == 1 else ()
    return Line(
        arm=f"{point.arm} probe" if sweep.kind == "probe" else point.arm,
        letters=point.letters,
        choice=words,
        layers=alone if len(layers) == 1 else ", ".join(layers),
        point=point,
        picked=picked,
        tied=len(ties) > 1 and point.choice in ties,
        linear=sweep.kind == "probe",
    )


def _order(letters: str) -> tuple[int, list[int]]:
    return len(letters), ["TAV".index(letter) for letter in letters]
