"""Runs that were never trained: predictions are the label plus noise, written as training would."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sedimental.cache.manifest import Clip, Manifest
from sedimental.cache.runs import Epoch, InputRecord, Predictions, Run, run_folder, write_run
from sedimental.cache.spec import LETTERS, MODALITIES, Split

SKILL = {"T": 0.7, "A": 0.5, "V": 0.25}
"""Share of the label that a modality knows."""
Change = Callable[[Run], Run]


def simulate(
    root: Path,
    subsets: tuple[str, ...] = ("TAV", "T", "A", "V"),
    seeds: tuple[int, ...] = (1, 2, 3),
    corpus: str = "demo",
    videos: int = 30,
    scale: float = 1.0,
    shift: float = 0.0,
    model: str = "uegd",
    change: Change = lambda run: run,
) -> Manifest:
    """Write runs whose predictions are the label plus noise, the less the more modalities."""
    rng = np.random.default_rng(0)
    ids = [f"v{v:02d}$_${c}" for v in range(videos) for c in range(4)]
    thirds: tuple[Split, ...] = ("train", "valid", "test")
    splits = tuple(thirds[v * 3 // videos] for v in range(videos) for _ in range(4))
    labels = np.clip(np.round(rng.normal(0, 1.2, len(ids)) * 3) / 3, -3, 3) * scale + shift
    for letters in subsets:
        modalities = tuple(m for m in MODALITIES if LETTERS[m] in letters)
        for seed in seeds:
            noise = np.random.default_rng([seed, *map(ord, letters)])
            known = 1 - math.prod(1 - SKILL[x] for x in letters)
            values = shift + (labels - shift) * known
            values += scale * noise.normal(0, 1 - known, len(ids))
            inputs = tuple(
                InputRecord(
                    m,
                    f"tiny-{m}",
                    ("0", "1", "2"),
                    m == "audio",
                    f"{m:f<16}",
                    "hub" if m == "text" else "random:0",
                )
                for m in modalities
            )
            run = Run(
                corpus,
                model,
                modalities,
                seed,
                f"key{seed}{letters}",
                {"width": 8},
                {"epochs": 3, "seeds": list(seeds)},
                inputs,
                {"python": "3.11"},
                123,
                "valid loss",
                2,
                1.5,
                {
                    s: {"clips": splits.count(s), **dict.fromkeys(modalities, splits.count(s))}
                    for s in thirds
                },
                tuple(Epoch(e, 1 / e, 1.1 / e, 1e-4, 0.1, {"MAE": 1.0}) for e in (1, 2, 3)),
                {},
                Predictions(tuple(ids), splits, labels, values),
                {
                    "gate": noise.uniform(size=(len(ids), 3)),
                    **({"layers_audio": np.array([0.2, 0.3, 0.5])} if "A" in letters else {}),
                },
                memory=(seed % 1000) * 10**6,
            )
            write_run(run_folder(root, model, modalities, seed), change(run), b"", again=True)
    return Manifest(
        corpus,
        root,
        tuple(
            Clip(i, i[:3], i[6:], s, f"said <b>&{i}</b> 好", label=float(y))
            for i, s, y in zip(ids, splits, labels, strict=True)
        ),
    )
