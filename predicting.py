"""`predict`: new clips through a trained run, from file to score.

Extraction and the model meet on disk, as in a pipeline: the clips' features are made by the very
extraction that made those of the run, into a cache of their own that lasts as long as the call.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cache.manifest import Manifest
    from .cache.runs import Run
    from .cache.runs.names import Current
    from .config import Config
    from .evaluate.prediction import Prediction
    from .extract.new_clip import NewClip
    from .progress import Progress

    Clips = Sequence[NewClip | str | Path] | NewClip | str | Path

NAME = "clips"
"""Of the corpus that the clips make for as long as they are predicted."""
MOST_FACES = 40
"""Clips of which face crops are drawn."""


def predict(
    run: str | Path,
    clips: "Clips" = (),
    *,
    table: str | Path | None = None,
    experiment: str | Path = "runs",
    device: str = "auto",
    progress: "Progress | None" = None,
    current: "Current | None" = None,
    faces: bool = False,
) -> "Prediction":
    """What `run` says of `clips` (files, or NewClips with words and cuts) and those of a `table`.

    `run` is a seed's folder, a folder of seeds, or a row's name (``uegd TAV``) in the folder
    `experiment`, or the beginning of what `sedimental runs ls` calls it; of several configurations
    of a row `current` tells which is meant. With `faces` the face crops of the clips are among what
    is returned, where the run reads faces. Of several seeds the answers are averaged. A clip that
    lacks a modality is predicted from the others, and the answer says so. Raises RunError for what
    is no run, or one that does not say how its features were made; EncoderError where they cannot
    be made so any more; ManifestError for a clip without the words or the file that the run reads.
    """
    from .cache.runs import read_run
    from .cache.runs.names import find_folders
    from .cache.store.atomic_write import scratch_folder
    from .evaluate.prediction import predicted
    from .extract.face_strips import face_strips
    from .extract.finetune.find import live_input
    from .extract.run import extract
    from .extract.same_features import refuse_others
    from .progress import Silent
    from .train.distributed.sigterm import raising_on_sigterm
    from .train.predict import answer

    folders = find_folders(str(run), Path(experiment), current)
    runs = [read_run(folder) for folder in folders]
    _refuse_unlike(runs, folders)
    manifest = _manifest(clips, table, runs[0])
    refuse_others(runs[0].row, runs[0].extraction)
    with raising_on_sigterm("nothing of it is kept."), scratch_folder("sedimental") as root:
        configs = [pipeline_of(one, root, device) for one in runs]
        made = extract(configs[0], NoTranscripts(progress or Silent()), manifest=manifest)
        reasons = {(f.clip, f.modality): f"{f.stage}: {f.reason}" for f in made.failures}
        answers = [
            answer(one, folder, config, manifest, live_input)
            for one, folder, config in zip(runs, folders, configs, strict=True)
        ]
        listed = [clip.id for clip in manifest.clips][:MOST_FACES] if faces else []
        strips = face_strips(configs[0], listed) if listed else {}
    return replace(predicted(runs, answers, manifest.clips, reasons), faces=strips)


@dataclass(frozen=True)
class NoTranscripts:
    """Passes on how far the extraction is, and no word of single clips: the prediction has them."""

    progress: "Progress"

    def start(self, task: str, total: int, unit: str = "clip") -> None:
        """Pass on."""
        self.progress.start(task, total, unit)

    def advance(self, task: str, by: int = 1) -> None:
        """Pass on."""
        self.progress.advance(task, by)

    def note(self, message: str) -> None:
        """It is in the prediction."""


def pipeline_of(run: "Run", root: Path, device: str) -> "Config":
    """The pipeline that makes the features of `run` of other clips, in a cache below `root`.

    Raises ConfigError for a device that is none, and for settings that are no longer known.
    """
    from pydantic import ValidationError

    from .config import Config, ConfigError, TrainConfig, in_words

    inputs: Mapping[str, object] = run.config["inputs"]
    section = {k: v for k, v in run.config.items() if k in TrainConfig.model_fields}
    section |= {"device": device, "inputs": {m: inputs[m] for m in run.modalities}}
    made = [run.extraction[m] for m in run.modalities]
    tables = {
        "corpus": {"kind": "csv", "path": root / f"{NAME}.csv"},
        "cache": {"root": root, "dtype": made[0].spec.dtype},
        "features": [one.pinned for one in made],
        "extract": {"device": device},
        "train": section,
        **({"words": run.config["words"]} if "words" in run.config else {}),
    }
    try:
        return Config.model_validate(tables)
    except ValidationError as found:
        faults = dict.fromkeys(f"{run.row}: {e['loc'][-1]}: {in_words(e)}" for e in found.errors())
        raise ConfigError("\n".join(faults)) from None


def _refuse_unlike(runs: "Sequence[Run]", folders: Sequence[Path]) -> None:
    """Raises RunError unless every run says how its features were made, and all the same."""
    from .errors import RunError
    from .train.models import MODELS

    fingerprints = [{m: one.spec.fingerprint for m, one in r.extraction.items()} for r in runs]
    for run, folder, own in zip(runs, folders, fingerprints, strict=True):
        if run.model not in MODELS:
            raise RunError(
                f"{folder}: {run.model} is fitted to compare with, and not kept. "
                "Name the row of a model."
            )
        if set(run.extraction) != set(run.modalities):
            raise RunError(
                f"{folder}: the run does not say how its features were made, as runs of earlier "
                "versions do not. `sedimental train --fresh` makes it anew."
            )
        if own != fingerprints[0]:
            raise RunError(
                f"{folder}: was trained on other features than {folders[0].name}. Predict with one "
                "seed's folder, or train all seeds again."
            )


def _manifest(clips: "Clips", table: str | Path | None, run: "Run") -> "Manifest":
    from .extract.new_clip import NewClip
    from .extract.new_clips import manifest_of, read_table

    listed = [clips] if isinstance(clips, str | Path | NewClip) else list(clips)
    new = [clip if isinstance(clip, NewClip) else NewClip(clip) for clip in listed]
    if table is not None:
        new += read_table(Path(table), run.modalities)
    return manifest_of(NAME, new, run.modalities)
