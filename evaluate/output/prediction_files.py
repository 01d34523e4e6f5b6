"""What trained runs say of clips, as one table: for CSV or Parquet, a row a clip and seed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...cache.runs import Run, list_runs, read_run
from ...cache.table_file import write_table
from ..prediction import Prediction
from ..results import Report

Columns = dict[str, list[Any]]


def write_report_predictions(path: Path, experiment: Path, report: Report) -> None:
    """Every clip as each run of `report` predicts it, to the file at `path`.

    Columns: row, seed, fold, id, split; label and prediction, and of classes
    ``probability_<class>``; of several labels a clip ``label_<name>`` and ``prediction_<name>``.
    """
    wanted = {line.key for line in report.runs}
    runs = [run for folder in list_runs(experiment) if (run := read_run(folder)).key in wanted]
    write_table(path, columns_of(runs))


def columns_of(runs: Sequence[Run]) -> Columns:
    """The columns of `runs`, whose labels are of one kind."""
    found: Columns = {}

    def add(name: str, values: Sequence[Any]) -> None:
        found.setdefault(name, []).extend(values)

    for run in runs:
        own, count = run.predictions, len(run.predictions.ids)
        add("row", [run.row] * count)
        add("seed", [run.seed] * count)
        add("fold", [run.identity.fold if run.identity else None] * count)
        add("id", own.ids)
        add("split", own.splits)
        if own.several is not None:
            for k, name in enumerate(own.several.names):
                add(f"label_{name}", own.labels[:, k].tolist())
                add(f"prediction_{name}", own.values[:, k].tolist())
            continue
        for name, values in (("label", own.labels.tolist()), ("prediction", own.values.tolist())):
            add(name, [own.classes[int(v)] for v in values] if own.classes else values)
        for k, name in enumerate(own.classes):
            shares = own.probabilities
            add(f"probability_{name}", [None] * count if shares is None else shares[:, k].tolist())
    return found


def write_new_predictions(path: Path, found: Prediction) -> None:
    """Predictions of new clips to the file at `path`: a row a clip, means over the seeds."""
    clips = found.clips
    columns: Columns = {
        "row": [found.row] * len(clips),
        "id": [clip.id for clip in clips],
        "media": [clip.media for clip in clips],
        "start": [clip.start for clip in clips],
        "end": [clip.end for clip in clips],
        "text": [clip.text for clip in clips],
        "from": [",".join(clip.used) for clip in clips],
    }
    if found.classes:
        columns["answer"] = [clip.word for clip in clips]
        for name in found.classes:
            own = [clip.probabilities.get(name) for clip in clips]
            columns[name] = [one and one.mean for one in own]
    else:
        columns["score"] = [clip.score and clip.score.mean for clip in clips]
        columns["deviation"] = [clip.score and clip.score.std for clip in clips]
        columns["answer"] = [clip.word for clip in clips]
    write_table(path, columns)
