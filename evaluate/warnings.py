"""What a reader must know before believing a number: found in the runs, said in plain words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cache.corpus.label_scale import fills
from ..cache.corpus.leaks import leaks
from ..cache.manifest import Manifest
from ..cache.runs import InputRecord, Run
from ..cache.runs.run_warnings import run_warnings
from ..cache.spec import MODALITIES, SPLITS
from .analysis.analysis import scored_clips
from .protocols import CorpusProtocol
from .results import Caution, InputUse, Row
from .statistics import FEWEST_GROUPS

FEW_SEEDS = 3
HARMLESS = frozenset(
    {"seeds", "models", "modalities", "inputs", "threads", "device", "memory_mb", "stack", "source"}
    | {"mode", "also"}
)
"""Keys of [train] that may differ between runs of one table."""


def cautions(
    groups: Mapping[str, Sequence[Run]],
    rows: Sequence[Row],
    floors: Sequence[Row],
    inputs: Sequence[InputUse],
    protocol: CorpusProtocol,
    videos: int,
    resamples: int,
    manifest: Manifest | None = None,
    parts: str = "",
) -> tuple[Caution, ...]:
    """All of them, the gravest first. `groups` holds the runs of each row; `parts` says how those
    of a cross-validation are scored."""
    found = untrained(use.record for use in inputs)
    found += [Caution("warning", text) for text in (leaks(manifest) if manifest else ())]
    found += [Caution("warning", text) for text in _warnings(groups, rows, protocol)]
    found += [Caution("note", parts)] if parts else []
    notes = _notes(groups, rows, floors, protocol, videos, resamples)
    found += [Caution("note", text) for text in notes]
    return tuple(found)


def untrained(records: Iterable[InputRecord]) -> list[Caution]:
    """That encoders have random weights, if any has."""
    names = dict.fromkeys(
        f"{one.modality} {one.encoder} ({one.weights})" for one in records if one.untrained
    )
    text = (
        f"Untrained encoders, random weights: {', '.join(names)}. These numbers show that "
        "the pipeline works; they say nothing about what trained encoders would reach."
    )
    return [Caution("untrained", text)] if names else []


def differing(values: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """Keys on which the named mappings differ: key -> value (as text) -> names that have it."""
    keys = dict.fromkeys(key for each in values.values() for key in each)
    found: dict[str, dict[str, list[str]]] = {}
    for key in keys:
        by_value: dict[str, list[str]] = {}
        for name, each in values.items():
            by_value.setdefault(str(each.get(key, "unset")), []).append(name)
        if len(by_value) > 1:
            found[key] = by_value
    return found


def _warnings(
    groups: Mapping[str, Sequence[Run]], rows: Sequence[Row], protocol: CorpusProtocol
) -> Iterator[str]:
    runs = [run for seeds in groups.values() for run in seeds]
    if not (protocol.of_classes or protocol.of_several):
        yield from _scale(runs[0], protocol)
    if not scored_clips(runs[0])[0]:
        yield "The test split is empty: there is nothing to score."
        return
    yield from _mixed(groups)
    first = scored_clips(runs[0])
    odd = [
        name
        for name, seeds in groups.items()
        for run in seeds
        if scored_clips(run)[0] != first[0] or not np.array_equal(scored_clips(run)[1], first[1])
    ]
    if odd:
        yield (
            f"Not all rows were scored on the same test clips: {_list(odd)} differ from "
            f"{next(iter(groups))}. Train them again on the present manifest before comparing."
        )
    broken = [
        f"{name} seed {run.seed}"
        for name, seeds in groups.items()
        for run in seeds
        if not np.isfinite(run.predictions.values).all()
    ]
    if broken:
        yield (
            f"Predictions that are not finite: {_list(broken)}. Training diverged; a split with "
            "such a prediction has no score."
        )
    for name, seeds in groups.items():
        for run in seeds:
            for text in run_warnings(run):
                yield f"{name} seed {run.seed}: {text}"
    constant = [
        row.name
        for row in rows
        if row.name not in {b.rsplit(" seed", 1)[0] for b in broken}
        and "Corr" in row.test
        and np.isnan(row.test["Corr"].mean)
    ]
    if constant:
        yield (
            f"Correlation is undefined for {_list(constant)}: with at least one seed all test "
            "predictions (or all labels) are equal."
        )
    for split in SPLITS:
        missing = {}
        for run in runs:
            cover = run.coverage.get(split, {})
            for modality in run.modalities:
                if cover.get(modality, 0) < cover.get("clips", 0):
                    missing[modality] = f"{modality} {cover.get(modality, 0)} of {cover['clips']}"
        if missing:
            yield (
                f"Some {split} clips lack features ({', '.join(missing.values())}); "
                "failures.csv beside the features tells why."
            )


def _scale(run: Run, protocol: CorpusProtocol) -> Iterator[str]:
    labels = run.predictions.labels
    outside = int(np.sum((labels < protocol.low) | (labels > protocol.high)))
    if outside:
        yield (
            f"{outside} of {labels.size} labels lie outside {protocol.low:g}..{protocol.high:g}, "
            f'the scale of protocol "{protocol.key}". Set [evaluate] protocol to fit the corpus, '
            f"such as {_range_of(labels)}."
        )
    elif protocol.key == "mosi" and labels.size > 20 and np.abs(labels).max() <= 1:
        yield (
            'All labels lie within -1..1 although protocol "mosi" expects -3..3. For CH-SIMS set '
            f'[evaluate] protocol = "sims", for others their range, such as {_range_of(labels)}.'
        )
    elif labels.size > 20 and not fills(labels.min(), labels.max(), protocol.low, protocol.high):
        yield (
            f"All labels lie within {labels.min():g}..{labels.max():g}, which is little of "
            f"{protocol.low:g}..{protocol.high:g}, the scale of protocol "
            f'"{protocol.key}": its classes may mean nothing here. If another scale was rated on, '
            f"set [evaluate] protocol to its range, such as {_range_of(labels)}."
        )


def _range_of(labels: NDArray[np.float64]) -> str:
    return f'protocol = "{labels.min():g}..{labels.max():g}"'


def _mixed(groups: Mapping[str, Sequence[Run]]) -> Iterator[str]:
    named = {f"{name} seed {r.seed}": r for name, seeds in groups.items() for r in seeds}
    for model in dict.fromkeys(run.label for run in named.values()):
        of_model = {name: run for name, run in named.items() if run.label == model}
        settings = {
            name: {f"train.{key}": value for key, value in _settings(run).items()}
            | {f"{model}.{key}": value for key, value in run.options.items()}
            for name, run in of_model.items()
        }
        for key, by_value in differing(settings).items():
            yield f"The runs were trained with different {key}: {_who(by_value, ', ')}."
    for modality, live in product(MODALITIES, (False, True)):
        read: dict[str, dict[str, Any]] = {
            name: {"input": _input(record)}
            for name, run in named.items()
            for record in run.inputs
            if record.modality == modality and record.live == live
        }
        for by_value in differing(read).values():
            yield f"The runs read different {modality} inputs: {_who(by_value, '; ')}."


def _input(record: InputRecord) -> str:
    how = " weighted" if record.weighted else ""
    return f"{record.encoder} layers {', '.join(record.layers)}{how} of {record.fingerprint[:8]}"


def _who(by_value: Mapping[str, Sequence[str]], between: str) -> str:
    """Each value with the rows that have it; with the seeds where a row has more than one."""
    rows = [_rows(names) for names in by_value.values()]
    clear = sum(map(len, rows)) == len({row for each in rows for row in each})
    shown = rows if clear else by_value.values()
    return between.join(
        f"{value} ({_list(names)})" for value, names in zip(by_value, shown, strict=True)
    )


def _notes(
    groups: Mapping[str, Sequence[Run]],
    rows: Sequence[Row],
    floors: Sequence[Row],
    protocol: CorpusProtocol,
    videos: int,
    resamples: int,
) -> Iterator[str]:
    few = [row.name for row in rows if len(row.seeds) < FEW_SEEDS]
    if few:
        yield (f"Fewer than {FEW_SEEDS} seeds for {_list(few)}: the spread over seeds says little.")
    yield from _recipes(groups)
    if len({len(row.seeds) for row in rows}) > 1:
        yield "The rows have different numbers of seeds."
    if resamples and videos < FEWEST_GROUPS:
        yield (
            f"The test split has only {videos} {'video' if videos == 1 else 'videos'}, too few to "
            "draw from: intervals are drawn over clips, and are too narrow if clips of one video "
            "are alike."
        )
    # accuracy on classes of unlike size is high where only the commonest is told
    metric = protocol.metric(protocol.first if protocol.of_classes else protocol.second)
    sign = 1 if metric.higher else -1
    for floor in floors:
        bar = sign * floor.test[metric.key].mean
        if beaten := [r.name for r in rows if sign * r.test[metric.key].mean <= bar]:
            advice = _advice(beaten, groups) if floor.letters else ""
            yield f"No better in {metric.label} than the {floor.name}: {_list(beaten)}.{advice}"
    late = [
        f"{name} ({count} of {len(seeds)} seeds)"
        for name, seeds in groups.items()
        if (count := sum(bool(r.history) and r.best_epoch == r.history[-1].epoch for r in seeds))
    ]
    if late:
        yield f"Still improving when training ended: {_list(late)}. More epochs may help."


def _advice(beaten: Sequence[str], groups: Mapping[str, Sequence[Run]]) -> str:
    """What to try where a linear probe is not beaten, by what these runs have not tried."""
    runs = [run for name in beaten for run in groups.get(name, ())]
    tried = ["the layers that `sedimental sweep` picks"]
    if any(run.config.get("preset") for run in runs):
        tried.append("no preset (papers' settings suit encoders that are fine-tuned)")
    tried += ["another learning_rate", "more dropout or weight_decay"]
    return f" To try: {', '.join(tried)}." if runs else ""


def _recipes(groups: Mapping[str, Sequence[Run]]) -> Iterator[str]:
    """Models have recipes of their own: said once, in one line, as it is meant to be so."""
    first = {seeds[0].label: seeds[0] for seeds in groups.values()}
    if found := differing({model: _settings(run) for model, run in first.items()}):
        yield f"Each model is trained by its own recipe; they differ in {_list(list(found), 12)}."


def _settings(run: Run) -> dict[str, Any]:
    """Keys of [train] that decide what is learned; its tables are inputs and options."""
    return {
        key: value
        for key, value in run.config.items()
        if key not in HARMLESS and not isinstance(value, Mapping)
    }


def _rows(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name.rsplit(" seed", 1)[0] for name in names))


def _list(names: Sequence[str], limit: int = 6) -> str:
    """``a, b and c``; long lists are cut with their number."""
    names = list(dict.fromkeys(names))
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
