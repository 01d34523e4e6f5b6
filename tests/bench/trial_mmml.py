"""MMML at its published size: one step on this machine, with its time, memory and weight counts.

Run as ``python -P tests/bench/trial_mmml.py [--batch 2] [--precision bf16] [--checkpointing]
[--device cuda] [--steps 3]``; prints one line a step. RoBERTa-base and Data2Vec-audio-base with
random weights, five cross-modal layers, clips of 96 tokens and 6 s as in the paper. The encoders
are those of training, the step is the loop's.
"""

import argparse
import resource
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from sedimental.cache.spec import Modality
from sedimental.config import AudioFeatures, InputConfig, TextFeatures
from sedimental.extract.encoders.loading import resolve
from sedimental.extract.finetune.encoder import LiveSound, LiveText
from sedimental.train.data.live_inputs import shape_of
from sedimental.train.fit.optimizer import Stepper
from sedimental.train.fit.seeding import stream
from sedimental.train.fit.settings import Settings
from sedimental.train.layers.losses import task_loss
from sedimental.train.live_model import LiveModel, Tuning
from sedimental.train.models import build, model_options, model_recipe
from sedimental.train.models.shared.interface import Batch

TOKENS, SECONDS, RATE = 96, 6, 16_000
BUDGETS: Mapping[Modality, int] = {"text": 8192, "audio": 160 * RATE}


def encoders(checkpointing: bool) -> dict[Modality, Any]:
    words = resolve(TextFeatures(modality="text", encoder="roberta-base", weights="random:0"))
    sound = resolve(
        AudioFeatures(modality="audio", encoder="data2vec-audio-base", weights="random:0", rate=50)
    )
    line = InputConfig(encoder="x", live=True, checkpointing=checkpointing)
    draws = stream(1, "init")
    return {
        "text": LiveText(words, ("12",), line, None, draws, pad=1, unknown=3),
        "audio": LiveSound(sound, ("12",), line, None, draws, normalize=True, hop=1, pool="stride"),
    }


class Whole:
    """In the place of a `Reading`: what `LiveModel` asks of one."""

    scaling = None

    def __init__(self, modality: Modality) -> None:
        self.modality = modality
        self.record = SimpleNamespace(layers=("12",), weighted=False)
        self.spec = SimpleNamespace(width=768)
        self.budget = BUDGETS[modality]
        self.shape, self.source = shape_of(self), self  # type: ignore[arg-type]


def batch_of(size: int, device: torch.device) -> Batch:
    random = torch.Generator().manual_seed(0)
    frames = 299
    features: dict[Modality, Tensor] = {
        "text": torch.randint(5, 50_000, (size, TOKENS), generator=random),
        "audio": torch.randn(size, SECONDS * RATE, generator=random),
    }
    return Batch(
        features={m: values.to(device) for m, values in features.items()},
        masks={
            "text": torch.ones(size, TOKENS, dtype=torch.bool, device=device),
            "audio": torch.ones(size, frames, dtype=torch.bool, device=device),
        },
        labels=torch.zeros(size, device=device),
        index=torch.arange(size, device=device),
        live={
            "text": torch.full((size,), TOKENS),
            "audio": torch.full((size,), SECONDS * RATE),
        },
    )


def model_of(found: Mapping[Modality, Any], settings: Settings) -> LiveModel:
    readings: dict[Modality, Any] = {m: Whole(m) for m in found}
    shapes = {m: reading.shape for m, reading in readings.items()}
    fusion = build("mmml", model_options("mmml", {}, "mosi"), shapes, stream(1, "init"))
    tuning = dict.fromkeys(found, Tuning(settings.learning_rate, 0.01, spare=False))
    return LiveModel(fusion, found, readings, tuning, settings.learning_rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "fp16"])
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    recipe = model_recipe("mmml", {}, "mosi")
    settings = Settings(
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        optimizer=recipe.optimizer,
        precision=asked.precision,
    )
    model = model_of(encoders(asked.checkpointing), settings)
    counts = {
        "fusion": sum(p.numel() for p in model.fusion.parameters()),
        "text": sum(p.numel() for p in model.encoders["text"].parameters()),
        "audio": sum(p.numel() for p in model.encoders["audio"].parameters()),
        "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }
    print({name: f"{count:,}" for name, count in counts.items()})
    model.to(device)
    batch, stepper = batch_of(asked.batch, device), Stepper(model, settings, device)
    model.train()
    for step in range(asked.steps):
        began = time.perf_counter()
        with stepper.autocast():
            output = model(batch)
        loss = task_loss(output.prediction.float(), batch.labels)
        for term in output.losses.values():
            loss = loss + term
        stepper.backward(loss)
        stepper.step(1.0)
        value = float(loss.detach())  # waits for the device
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        if device.type == "cuda":
            peak = torch.cuda.max_memory_allocated() / 1e9
        print(f"step {step + 1}: loss {value:.4f}, {seconds:.2f} s, peak {peak:.2f} GB", flush=True)


if __name__ == "__main__":
    main()
