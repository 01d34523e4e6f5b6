"""Seconds per epoch of every model, beside a plain PyTorch loop over the same model and features.

Run as ``python -P tests/bench/bench_train.py [--quick] [--rounds N] [--clips N]``; prints Markdown.
One thread, batches of 32, the models' CMU-MOSI settings, features in memory for every contestant:

- ours: `sedimental.train.fit.loop.fit`, validation included.
- plain, batch: a DataLoader whose collate pads to the longest clip of the batch, Adam, and the same
  model in plain padded form (`padded`): the same weights, predictions and gradients, computed on
  padded batches by PyTorch's own layers, as the papers' repositories do.
- plain, fixed: the same over arrays padded to the longest clip of all, as the field's files are.

A plain loop is stopped after `PATIENCE` seconds and its time scaled up to all batches: GLoMo's
attention over 500 padded frames takes the better part of an hour for an epoch.

Each round runs every contestant once, in turn; figures are medians over rounds, ratios the median
of the ratios within rounds, which a machine shared with others disturbs least. A second table
compares ways to train several seeds.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from sedimental.cache.spec import MODALITIES, Modality, Split
from sedimental.cache.store.store import Ragged
from sedimental.train.data.dataset import Corpus, Selection, Source, Table
from sedimental.train.data.load import arrange
from sedimental.train.fit.loop import fit, previous_of
from sedimental.train.fit.seeding import stream
from sedimental.train.fit.settings import Settings
from sedimental.train.fit.stacked_seeds import fit_stacked
from sedimental.train.models import build, model_options
from sedimental.train.models.shared.hooks import Remembers, Training
from sedimental.train.models.shared.interface import Batch, FusionModel

sys.path.insert(0, str(Path(__file__).parent))  # PYTHONSAFEPATH keeps it out
from padded import PADDED

Sizes = Mapping[Modality, tuple[int, float, int]]
"""Most frames, frames a second, width."""
MOSI: Sizes = {"text": (50, 3.5, 768), "audio": (375, 12.5, 5), "vision": (500, 16.7, 20)}
CACHED: Sizes = {"text": (50, 3.5, 1024), "audio": (150, 5.0, 1024), "vision": (90, 3.0, 1024)}
CLIPS, BATCH = 1284, 32
TABLES: Mapping[str, Mapping[str, object]] = {"mmml": {"preset": "frozen"}}
"""Models that are not benched as their paper has them: 96 million weights are for live encoders."""
PATIENCE = 60.0
SETTINGS = Settings(learning_rate=1e-4, batch_size=BATCH, epochs=1, warmup=0.0, schedule="constant")


def corpus(sizes: Sizes, clips: int) -> Selection:
    """Clips of 4 s on average, of lengths as uneven as those of CMU-MOSI; one more to validate."""
    random = np.random.default_rng(0)
    seconds = np.clip(random.lognormal(np.log(3.6), 0.6, clips + 2), 0.7, 30)
    splits: list[Split] = ["train"] * clips + ["valid", "test"]  # type: ignore[assignment]
    ids = tuple(f"v$_${k}" for k in range(clips + 2))
    labels = random.uniform(-3, 3, clips + 2)
    table = Table(ids, tuple(splits), labels, dict.fromkeys(("train", "valid", "test"), 0))
    sources = {}
    for m, (most, rate, width) in sizes.items():
        lengths = np.clip(np.round(seconds * rate) + 2, 1, most).astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        values = random.standard_normal((1, offsets[-1], width), np.float32).astype(np.float16)
        valid = np.ones(offsets[-1], bool)
        ragged = Ragged(values, offsets, ids)
        sources[m] = arrange(table, ragged, valid, False, "standardize", torch.device("cpu"))
    return Corpus(table, sources, torch.from_numpy(labels).float()).select(MODALITIES)


class Clips(Dataset[tuple[dict[Modality, Tensor], dict[Modality, int], float, int]]):
    """The training clips one by one: float32 frames, their number, label, row."""

    def __init__(self, data: Selection, sizes: Sizes, fixed: bool) -> None:
        self.rows = []
        for row in data.rows["train"].tolist():
            frames, lengths = {}, {}
            for m, source in data.sources.items():
                assert isinstance(source, Source)
                first, length = int(source.first[row]), int(source.length[row])
                own = source.values[0, first : first + length].float()
                if fixed:
                    own = nn.functional.pad(own, (0, 0, 0, sizes[m][0] - length))
                frames[m], lengths[m] = own, length
            self.rows.append((frames, lengths, float(data.labels[row]), row))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, k: int) -> tuple[dict[Modality, Tensor], dict[Modality, int], float, int]:
        return self.rows[k]


def collate(
    rows: list[tuple[dict[Modality, Tensor], dict[Modality, int], float, int]],
) -> Batch:
    features, masks = {}, {}
    for m in rows[0][0]:
        features[m] = pad_sequence([frames[m] for frames, *_ in rows], batch_first=True)
        lengths = torch.tensor([n[m] for _, n, *_ in rows])
        masks[m] = torch.arange(features[m].shape[1]) < lengths.unsqueeze(1)
    labels = torch.tensor([label for *_, label, _ in rows])
    return Batch(features, masks, labels, torch.tensor([row for *_, row in rows]))


def plain_epoch(model: nn.Module, loader: "DataLoader[Batch]", data: Selection) -> float:
    """The loop that a paper's repository has; seconds that its epoch takes."""
    began, done = time.perf_counter(), 0
    optimizer = torch.optim.Adam(model.parameters(), lr=SETTINGS.learning_rate)
    if isinstance(model, Remembers):
        rows = data.rows["train"]
        model.begin(Training(len(data.table.ids), rows, data.labels[rows], seed=0))
    model.train()
    total = 0.0
    for batch in loader:
        optimizer.zero_grad()
        output = model(batch)
        loss = nn.functional.l1_loss(output.prediction, batch.labels)
        loss = loss + sum(output.losses.values(), torch.zeros(()))
        torch.autograd.backward(loss)
        optimizer.step()
        total += loss.item()
        if isinstance(model, Remembers):
            with torch.no_grad():
                model.after_step(batch, output, 1)
        done += 1
        if time.perf_counter() - began > PATIENCE:
            break
    return (time.perf_counter() - began) * len(loader) / done


def made(name: str, data: Selection, seed: int = 0) -> FusionModel:
    options = model_options(name, TABLES.get(name, {}), "mosi")
    shapes = {m: source.shape for m, source in data.sources.items()}
    return build(name, options, shapes, stream(seed, "init"))


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def bench(sizes: Sizes, clips: int, rounds: int, names: list[str]) -> list[str]:
    """Rows of the first table."""
    data = corpus(sizes, clips)
    loaders = {
        fixed: DataLoader(
            Clips(data, sizes, fixed), batch_size=BATCH, shuffle=True, collate_fn=collate
        )
        for fixed in (False, True)
    }
    lines = []
    for name in names:
        found: dict[str, list[float]] = {"ours": [], "batch": [], "fixed": []}
        weights = sum(p.numel() for p in made(name, data).parameters())
        assert not previous_of(made(name, data))
        for round_ in range(rounds + 1):
            model = made(name, data)
            plain = {fixed: PADDED[name](made(name, data)) for fixed in loaders}
            spent = {
                "ours": fit(model, data, SETTINGS, 0, "mosi").history[0].seconds,
                "batch": plain_epoch(plain[False], loaders[False], data),  # type: ignore[arg-type]
                "fixed": plain_epoch(plain[True], loaders[True], data),  # type: ignore[arg-type]
            }
            if round_ or not rounds:  # the first warms up
                for kind, seconds in spent.items():
                    found[kind].append(seconds)
        own = statistics.median(found["ours"])
        ratio = {
            kind: statistics.median(b / a for a, b in zip(found["ours"], found[kind], strict=True))
            for kind in ("batch", "fixed")
        }
        theirs = {kind: statistics.median(found[kind]) for kind in ratio}
        lines.append(
            f"| {name} | {weights:,} | {own:.2f} | {theirs['batch']:.2f} | {ratio['batch']:.2f} "
            f"| {theirs['fixed']:.2f} | {ratio['fixed']:.2f} |"
        )
        print(lines[-1], flush=True)
    return lines


def bench_seeds(clips: int, rounds: int, count: int = 4) -> None:
    """Several seeds of UEGD, stacked and one by one."""
    data = corpus(CACHED, clips)
    seeds = tuple(range(count))
    found: list[tuple[float, float]] = []
    for _ in range(rounds):
        together = [made("uegd", data, s) for s in seeds]
        stacked = timed(lambda m=together: fit_stacked(m, data, SETTINGS, seeds, "mosi"))  # type: ignore[misc]
        apart = timed(
            lambda: [fit(made("uegd", data, s), data, SETTINGS, s, "mosi") for s in seeds]
        )
        found.append((stacked, apart))
    stacked, apart = (statistics.median(column) for column in zip(*found, strict=True))
    ratio = statistics.median(b / a for a, b in found)
    print(f"\n{count} seeds of UEGD on 1024-wide layers, one epoch each, one thread:\n")
    print("| stacked (vmap), s | one by one, s | one by one / stacked |\n|---|---|---|")
    print(f"| {stacked:.2f} | {apart:.2f} | {ratio:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the clips, one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--models", nargs="+", default=list(PADDED), choices=list(PADDED))
    given = parser.parse_args()
    torch.set_num_threads(1)
    clips, rounds = (CLIPS // 10, 1) if given.quick else (given.clips, given.rounds)
    print(f"{clips} clips, batch {BATCH}, {rounds} rounds, one thread of {os.cpu_count()} cores, ")
    print(f"torch {torch.__version__}, {platform.machine()}\n")
    sizes = {"CMU-MOSI, the field's features": MOSI, "cached layers, 1024 wide": CACHED}
    for title, size in sizes.items():
        widths = ", ".join(f"{m} {n}x{w}" for m, (n, _, w) in size.items())
        print(f"{title} ({widths} at most)\n")
        print("| model | weights | ours, s/epoch | plain, batch | ratio | plain, fixed | ratio |")
        print("|---|---|---|---|---|---|---|", flush=True)
        bench(size, clips, rounds, given.models)
        print()
    bench_seeds(clips, max(1, rounds // 2))


if __name__ == "__main__":
    main()
