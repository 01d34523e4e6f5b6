"""Our baselines beside what `run_reference.py` found, on the same clips: a table in Markdown.

    python -m toolkit.compare OUT [--clips 640 160 160] [--batch 32]

OUT is the folder of `run_reference.py`, and gets table.md. Settings are those of the presets
``mmsa-mosi``, seeds, epochs and batches the reference's.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from sedimental.cache.spec import MODALITIES, Split
from sedimental.cache.store.store import Ragged
from sedimental.config import TrainConfig
from sedimental.train.data.dataset import Corpus, Selection, Source, Table
from sedimental.train.data.load import arrange
from sedimental.train.fit.loop import fit
from sedimental.train.fit.seeding import stream
from sedimental.train.fit.settings import resolve
from sedimental.train.models import build, model_options, model_recipe
from sedimental.train.models.shared.interface import Batch, FusionModel, InputShape

from .generated_file import CLIPS, SPLITS, WIDTHS, split
from .weights import WEIGHTS

PRESET = "mmsa-mosi"


def corpus(clips: Sequence[int]) -> Selection:
    """What `generated_file.write` has written of so many clips, in memory."""
    parts = [split(count, 100 + k) for k, count in enumerate(clips)]
    names: list[Split] = [n for n, c in zip(SPLITS, clips, strict=True) for _ in range(c)]  # type: ignore[misc]
    ids = tuple(str(one) for part in parts for one in part["id"])
    labels = np.concatenate([part["regression_labels"] for part in parts]).astype(np.float64)
    table = Table(ids, tuple(names), labels, dict.fromkeys(names, 0))
    sources = dict[Any, Source]()
    for m in MODALITIES:
        rows = [
            values[:length]
            for part in parts
            for values, length in zip(
                part[m],
                part["text_bert"][:, 1].sum(axis=1).astype(int)
                if m == "text"
                else part[f"{m}_lengths"],
                strict=True,
            )
        ]
        offsets = np.concatenate([[0], np.cumsum([len(r) for r in rows])])
        ragged = Ragged(np.concatenate(rows)[None].astype(np.float32), offsets, ids)
        known = np.ones(offsets[-1], np.bool_)
        sources[m] = arrange(table, ragged, known, False, "none", torch.device("cpu"))
    return Corpus(table, sources, torch.from_numpy(labels).float()).select(MODALITIES)


def model_of(name: str, seed: int) -> FusionModel:
    """A model of the preset."""
    shapes = {m: InputShape(WIDTHS[m]) for m in MODALITIES}
    return build(name, model_options(name, {}, PRESET), shapes, stream(seed, "init"), 0)


def run(name: str, data: Selection, seed: int, epochs: int, batch: int | None) -> dict[str, Any]:
    """One seed: as `run_reference.run`."""
    recipe = replace(model_recipe(name, {}, PRESET), epochs=epochs, patience=None)
    recipe = replace(recipe, batch_size=batch or recipe.batch_size)
    began = time.perf_counter()
    found = fit(model_of(name, seed), data, resolve(recipe, TrainConfig()), seed, "mosi")
    spent = (time.perf_counter() - began) / epochs
    return {"mae": [e.valid["MAE"] for e in found.history], "seconds": [spent] * epochs}


def distance(name: str, file: Path) -> tuple[int, float]:
    """Our weights, and the largest difference of scores with the reference's weights in ours."""
    tensors = load_file(file)
    given = {k.removeprefix("weight."): v for k, v in tensors.items() if k.startswith("weight.")}
    model = model_of(name, 0)
    unknown = model.load_state_dict(WEIGHTS[name](given), strict=False).unexpected_keys  # type: ignore[call-arg]
    if unknown:
        raise ValueError(f"{name}: {', '.join(unknown)} are not ours.")
    model.eval()
    features = {m: tensors[f"input.{m}"] for m in MODALITIES}
    masks = {m: torch.ones(x.shape[:2], dtype=torch.bool) for m, x in features.items()}
    clips = len(tensors["scores"])
    with torch.no_grad():
        found = model(Batch(features, masks, torch.zeros(clips), torch.arange(clips)))
    count = sum(p.numel() for p in model.parameters())
    return count, float((found.prediction - tensors["scores"]).abs().max())


def spread(runs: Sequence[Any], epoch: int) -> str:
    """Mean and deviation over seeds of the validation MAE after `epoch`."""
    values = [one["mae"][epoch - 1] for one in runs]
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"


def seconds(runs: Sequence[Any]) -> float:
    """Median seconds of an epoch, the first of each run left out where there are more."""
    return float(np.median([s for one in runs for s in one["seconds"][1:] or one["seconds"]]))


def main() -> None:
    """The table of all models that the reference was run on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, nargs=3, default=CLIPS)
    parser.add_argument("--batch", type=int)
    given = parser.parse_args()
    torch.set_num_threads(1)
    reference = json.loads((given.out / "reference.json").read_text())
    data = corpus(given.clips)
    epochs = sorted(
        {1, 5, 10, 15} & set(range(1, 1 + len(next(iter(reference.values()))["runs"][0]["mae"])))
    )
    head = [f"epoch {e}, {who}" for e in epochs for who in ("reference", "ours")]
    lines = [
        "| model | weights | scores differ by | " + " | ".join(head) + " | s/epoch | ours | ratio |"
    ]
    lines.append("|---" * (6 + len(head)) + "|")
    for name, theirs in reference.items():
        count, apart = distance(name, given.out / f"{name}.safetensors")
        if count != theirs["count"]:
            raise ValueError(f"{name}: {count} weights, {theirs['count']} in the reference.")
        length = len(theirs["runs"][0]["mae"])
        ours = [run(name, data, r["seed"], length, given.batch) for r in theirs["runs"]]
        cells = [spread(runs, e) for e in epochs for runs in (theirs["runs"], ours)]
        slow, quick = seconds(theirs["runs"]), seconds(ours)
        cells += [f"{slow:.2f}", f"{quick:.2f}", f"{slow / quick:.1f}"]
        lines.append(f"| `{name}` | {count:,} | {apart:.0e} | " + " | ".join(cells) + " |")
        (given.out / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
