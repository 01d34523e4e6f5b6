"""Weights and tokenizers on this machine before they are needed, for nodes without a network."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..cache.manifest import Manifest
from ..cache.spec import Modality
from ..config import AnyFeatures, Config
from ..progress import Progress, Silent
from .encoders.hub import weights_state
from .encoders.loading import EncoderError, load_model, resolve
from .streams.raw_inputs import streams_of

TASK = "encoders"


@dataclass(frozen=True)
class Fetched:
    """One encoder that is on this machine, or cannot be had."""

    modality: Modality
    encoder: str
    weights: str
    """Where they are, in words."""
    revision: str | None
    """Commit of the Hub."""
    parameters: int
    fault: EncoderError | None = None
    """Why it cannot be had."""


def fetch(config: Config, progress: Progress | None = None) -> tuple[Fetched, ...]:
    """Load every encoder of [[features]] once, as `extract` will: what the Hub has stays in its
    cache, with tokenizer and processor.

    No corpus is read. An encoder that cannot be had has its `fault`.
    """
    told = progress or Silent()
    tables = [table for table in config.features if not table.imported]
    told.start(TASK, len(tables), "encoder")
    found = list[Fetched]()
    for table in tables:
        try:
            found += _fetched(table, config)
        except EncoderError as fault:
            lost = Fetched(table.modality, table.encoder, "", None, 0, fault)
            found.append(lost)
        told.advance(TASK)
    return tuple(dict.fromkeys(found))


def _fetched(table: AnyFeatures, config: Config) -> Iterator[Fetched]:
    checkpoint, weights = resolve(table), 0
    if checkpoint.trained:
        weights = sum(each.numel() for each in load_model(checkpoint).parameters())
    for stream in streams_of(table, config, Manifest("none", Path(), ())):
        spec = stream.spec
        yield Fetched(spec.modality, spec.encoder, weights_state(spec), spec.revision, weights)
