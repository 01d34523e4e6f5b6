"""From an experiment folder to a Report: every run is read, scored anew and looked behind."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..cache.corpus.corpus_table import cached_manifest
from ..cache.manifest import Manifest
from ..cache.runs import Run, folder_of, list_runs, read_run
from ..cache.runs.representations import read_representations
from ..cache.spec import MODALITIES, SPLITS, Split
from ..config import Config, EvaluateConfig
from ..errors import RunError
from .analysis.analysis import analyse, scored_clips
from .analysis.cross_corpus import read_cross
from .analysis.missing_rates import read_robustness
from .analysis.published import published_for
from .baselines import best_probe, floor, stale_sweeps, sweeps_of
from .cross_validation import fold_of, joined, over_parts, parts_behind, parts_note, parts_of
from .figures.representation_maps import map_figures
from .figures.training_curves import trajectory_figure
from .metrics import Classes, Scheme, Scores
from .protocols import CorpusProtocol, protocol_of
from .provenance import provenance
from .results import (
    Caution,
    Drawing,
    InputUse,
    Report,
    Row,
    RunLine,
    Tuned,
    grouped,
)
from .selection import Planned, select, told
from .statistics import Difference, Spread, differences, seed_means, spreads, video_groups
from .warnings import cautions

News = Callable[[Config, bool], Iterator[str]]
"""What changed in the corpus since its features were made."""


def evaluate(
    config: Config,
    names: Sequence[str] = (),
    everything: bool = False,
    planned: Planned | None = None,
    news: News | None = None,
) -> Report:
    """Everything worth reporting about the pipeline's runs; what `sedimental report` shows.

    Metrics are computed anew from the predictions on disk. Only runs that belong to the pipeline
    and to its corpus table, as it was taken in last, are in the report; the others are named. With
    `everything` runs of other settings are rows of their own, with `names` just those runs are
    taken. What the pipeline asks for `planned` says, what changed in the corpus since `news`;
    `sedimental.evaluate` hands both over. Raises RunError if there is no such run, if one cannot be
    read, or if the runs are of several corpora; ManifestError for the table.
    """
    manifest = cached_manifest(config)
    chosen = select(config, manifest, planned, names, everything)
    found = report_of(config.experiment, chosen.runs, config.evaluate, manifest)
    there = config.experiment, chosen.runs, manifest
    said = [Caution(grade, text) for grade, text in told(chosen.left_out)]
    if chosen.unchecked:
        text = (
            f"Not checked against pipeline.toml whether these runs are its own: {chosen.unchecked}"
        )
        said.append(Caution("warning", text))
    heard = tuple(news(config, False)) if news else ()
    said += [Caution("warning", f"{text[0].upper()}{text[1:]}") for text in heard]
    said += [Caution("warning", text) for text in stale_sweeps(*there, found.sweeps)]
    order = ("untrained", "warning", "note")
    whole = sorted((*found.cautions, *said), key=lambda caution: order.index(caution.kind))
    return replace(found, cautions=tuple(whole), left_out=chosen.left_out, news=heard)


def report_folder(
    experiment: str | Path, settings: EvaluateConfig, manifest: Manifest | None = None
) -> Report:
    """The report of all runs below a folder, of whatever pipeline; a configuration a row.

    `manifest` adds transcripts and the videos' names; without it a clip's video is read from its
    id. Raises RunError as `evaluate` does.
    """
    runs = [read_run(path) for path in list_runs(Path(experiment))]
    if not runs:
        raise RunError(f"{experiment}: no finished run here. `sedimental train` makes them.")
    return report_of(Path(experiment), runs, settings, manifest)


def report_of(
    folder: Path, runs: Sequence[Run], settings: EvaluateConfig, manifest: Manifest | None
) -> Report:
    """The report of `runs`, which lie below the experiment's `folder`."""
    if len(corpora := sorted({run.corpus for run in runs})) > 1:
        raise RunError(
            f"{folder}: holds runs of several corpora ({', '.join(corpora)}), which no table can "
            "compare. Give each corpus its own [runs] name."
        )
    if len(found := {scheme_of_run(run, settings) for run in runs}) > 1:
        raise RunError(
            f"{folder}: holds runs that predict scores and runs that predict classes, or runs of "
            "different classes, which no table can compare. Give each its own [runs] name."
        )
    [scheme] = found
    classes, several = runs[0].predictions.classes, runs[0].predictions.several
    protocol = protocol_of(scheme)
    parts, runs = parts_of(runs), joined(runs)
    groups = grouped(runs)
    videos = {clip.id: clip.video_id for clip in manifest.clips} if manifest else None
    how = scheme, settings.bootstrap, videos
    scored = {
        name: _score(seeds, *how, model=name.rpartition(" ")[0]) for name, seeds in groups.items()
    }
    behind = {name: parts_behind(seeds[0], parts) for name, seeds in groups.items()}
    whole = {name: over_parts(row, behind[name], scheme) for name, (row, _) in scored.items()}
    scored = {name: (whole[name], draws) for name, (_, draws) in scored.items()}
    rows = tuple(row for row, _ in scored.values())
    baseline, _ = _score([floor(runs[0])], *how, name=protocol.floor)
    sweeps = sweeps_of(folder, runs, manifest)
    probe = None
    if (found_probe := best_probe(folder, runs[0], sweeps)) is not None:
        fitted, its_parts = found_probe
        row, _ = _score([fitted], *how, name=f"{fitted.model} probe")
        probe = over_parts(row, its_parts, scheme)
    ranked = {row.name: groups[row.name] for row in _ranked(rows, protocol)}
    headline = next(iter(ranked))
    inputs = _inputs(groups)
    ids = scored_clips(groups[headline][0])[0]
    test_videos = int(video_groups(ids, videos).max(initial=-1)) + 1
    return Report(
        name=folder.resolve().name,
        corpus=runs[0].corpus,
        protocol=protocol.key,
        classes=classes,
        several=several,
        rows=rows,
        baseline=baseline,
        probe=probe,
        headline=headline,
        differences=_differences(headline, scored, groups) if settings.bootstrap else {},
        tuned=_tuned(scored, groups),
        test_clips=len(ids),
        test_videos=test_videos,
        coverage=_coverage(runs),
        cautions=cautions(
            groups,
            rows,
            (baseline,) if probe is None else (baseline, probe),
            inputs,
            protocol,
            test_videos,
            settings.bootstrap,
            manifest,
            parts_note(parts),
        ),
        inputs=inputs,
        runs=tuple(
            _line(run, row, place)
            for row in rows
            for place, run in enumerate(behind[row.name] or groups[row.name])
        ),
        analyses=analyse(headline, groups, protocol, manifest, tuple(ranked)),
        published=published_for(runs[0].corpus),
        sweeps=sweeps,
        robustness=read_robustness(
            folder, {name: behind[name] or own for name, own in groups.items()}, scheme
        ),
        cross=read_cross(folder, groups, settings.bootstrap),
        drawings=_inner_figures(folder, ranked, protocol),
        provenance=provenance(groups, settings, manifest),
    )


def scheme_of(experiment: Path, settings: EvaluateConfig) -> Scheme:
    """How the runs of `experiment` are scored: their classes, or else the protocol asked for."""
    for path in list_runs(experiment):
        return scheme_of_run(read_run(path), settings)
    return settings.protocol


def scheme_of_run(run: Run, settings: EvaluateConfig) -> Scheme:
    """Its classes or its several labels, or else the protocol asked for."""
    return run.predictions.classes or run.predictions.several or settings.protocol


def _score(
    runs: Sequence[Run],
    scheme: Scheme,
    resamples: int,
    videos: Mapping[str, str] | None,
    name: str | None = None,
    model: str = "",
) -> tuple[Row, dict[str, Scores]]:
    """One row, and its resampled scores (empty without bootstrap); `name` is that of a floor."""
    ids, labels = scored_clips(runs[0])
    same = [run for run in runs if scored_clips(run)[0] == ids]
    if len(same) < len(runs):
        raise RunError(
            f"{runs[0].row}: its seeds were scored on different test clips. Train all seeds "
            "again on the present manifest."
        )
    test = [run.predictions.of("test")[1] for run in runs]
    groups: Classes = video_groups(ids, videos)
    draws = seed_means(labels, test, scheme, groups, resamples) if resamples else {}
    epochs = [line.seconds for run in runs for line in run.history]
    row = Row(
        model=name or model,
        letters=runs[0].letters,
        seeds=() if name else tuple(run.seed for run in runs),
        test=spreads(labels, test, scheme, draws),
        valid=spreads(
            runs[0].predictions.of("valid")[0],
            [run.predictions.of("valid")[1] for run in runs],
            scheme,
        ),
        parameters=runs[0].parameters,
        best_epochs=() if name else tuple(run.best_epoch for run in runs),
        seconds=float(np.mean([run.seconds for run in runs])),
        epoch_seconds=float(np.median(epochs)) if epochs else float("nan"),
        memory=max(run.memory for run in runs),
        training="fine-tuned" if runs[0].finetuned else "frozen",
    )
    return row, draws


def _ranked(rows: Sequence[Row], protocol: CorpusProtocol) -> list[Row]:
    """The best in the protocol's first metric on validation first; where it is undefined for all,
    in the second."""

    def place(row: Row) -> tuple[float, ...]:
        found = []
        for key in (protocol.first, protocol.second):
            value = row.valid[key].mean
            sign = 1 if protocol.metric(key).higher else -1
            found.append(-sign * value if np.isfinite(value) else float("inf"))
        return tuple(found)

    return sorted(rows, key=place)


def _inner_figures(
    folder: Path, ranked: Mapping[str, Sequence[Run]], protocol: CorpusProtocol
) -> tuple[Drawing, ...]:
    """Maps of the best row's first seed, and generated labels of the best row that has any."""
    first = [runs[0] for runs in ranked.values()]
    best = first[0]
    if fold_of(best) is not None:  # a model a part: there is no one map of all clips
        return ()
    kept = read_representations(folder_of(folder, best))
    trail = next((found for run in first if (found := trajectory_figure(run))), None)
    return (*map_figures(best, kept, protocol), *([trail] if trail else []))


def _differences(
    headline: str,
    scored: Mapping[str, tuple[Row, dict[str, Scores]]],
    groups: Mapping[str, Sequence[Run]],
) -> dict[str, dict[str, Difference]]:
    row, draws = scored[headline]
    ids = scored_clips(groups[headline][0])[0]
    return {
        name: differences(row.test, other.test, draws, other_draws)
        for name, (other, other_draws) in scored.items()
        if name != headline and scored_clips(groups[name][0])[0] == ids
    }


def _tuned(
    scored: Mapping[str, tuple[Row, dict[str, Scores]]], groups: Mapping[str, Sequence[Run]]
) -> tuple[Tuned, ...]:
    found = []
    for name, (row, draws) in scored.items():
        run = groups[name][0]
        plain = f"{run.model} {run.letters}"
        if not run.finetuned or plain not in scored:
            continue
        frozen, other = scored[plain]
        same = scored_clips(run)[0] == scored_clips(groups[plain][0])[0]
        apart = differences(row.test, frozen.test, draws, other) if draws and same else {}
        found.append(Tuned(frozen, row, apart))
    return tuple(found)


def _coverage(runs: Sequence[Run]) -> dict[Split, dict[str, int]]:
    """The least any run had, so that no gap is hidden by a luckier run."""
    found: dict[Split, dict[str, int]] = {}
    for split in SPLITS:
        for run in runs:
            for key, count in run.coverage.get(split, {}).items():
                table = found.setdefault(split, {})
                table[key] = min(count, table.get(key, count))
    order = ("clips", *MODALITIES)
    return {s: {k: table[k] for k in order if k in table} for s, table in found.items()}


def _inputs(groups: Mapping[str, Sequence[Run]]) -> tuple[InputUse, ...]:
    uses: dict[Any, list[str]] = {}
    for name, runs in groups.items():
        for record in dict.fromkeys(i for run in runs for i in run.inputs):
            uses.setdefault(record, []).append(name)
    ordered = sorted(uses, key=lambda record: MODALITIES.index(record.modality))
    return tuple(InputUse(record, tuple(uses[record])) for record in ordered)


def _line(run: Run, row: Row, place: int) -> RunLine:
    return RunLine(
        row=row.name,
        seed=run.seed,
        key=run.key,
        best_epoch=run.best_epoch,
        epochs=len(run.history),
        seconds=run.seconds,
        valid=_own(run, "valid", row.valid, place),
        test=_own(run, "test", row.test, place),
        rivals=run.rivals,
    )


def _own(run: Run, split: Split, spread: Mapping[str, Spread], place: int) -> Mapping[str, float]:
    """The scores of one run of a row."""
    if fold_of(run) is not None:  # the row's are of parts, not of runs
        return {key: run.metrics[split].get(key, float("nan")) for key in spread}
    return {key: one.values[place] for key, one in spread.items()}
