"""What an extraction did: a row a store, and every clip that failed with its reason."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..cache.failures import Failure
from ..cache.manifest import Manifest
from ..cache.spec import SPLITS, Modality, Split
from ..cache.store.store import Store
from ..result_table import ResultTable
from .stage_times import StageTime


@dataclass(frozen=True)
class StoreOutcome:
    """One store after the run."""

    modality: Modality
    encoder: str
    weights: str
    """``hub``, ``folder``, ``random:<seed>`` or ``imported``."""
    path: Path
    clips: int
    """Clips of the corpus."""
    held: int
    """Clips whose features were there before."""
    new: int
    """Clips extracted now."""
    failed: int
    truncated: int
    """Clips extracted now whose words did not all fit `max_length`."""
    frames: int
    """Frames of all clips in the store."""
    bytes: int
    """Of the features in the store, as `cache ls` has it."""
    coverage: Mapping[Split, tuple[int, int]]
    """Per split: clips with features, clips."""


def outcome_of(
    store: Store, manifest: Manifest, *, held: int, new: int, failed: int, truncated: int
) -> StoreOutcome:
    """The row of `store`, opened after the run."""
    here = set(store.clips)
    coverage = {
        split: (sum(c.id in here for c in manifest.split(split)), len(manifest.split(split)))
        for split in SPLITS
    }
    return StoreOutcome(
        modality=store.spec.modality,
        encoder=store.spec.encoder,
        weights=store.spec.weights,
        path=store.path,
        clips=len(manifest.clips),
        held=held,
        new=new,
        failed=failed,
        truncated=truncated,
        frames=int(store.frames.sum()),
        bytes=store.nbytes,
        coverage=coverage,
    )


@dataclass(frozen=True, repr=False)
class ExtractResult(ResultTable):
    """The whole run."""

    corpus: str
    stores: tuple[StoreOutcome, ...]
    failures: tuple[Failure, ...]
    failures_file: Path
    seconds: float
    device: str
    stages: tuple[StageTime, ...]
    """Where the time went."""
    noted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Clips extracted now that are not quite whole, and what they lack: gaps, a missing end."""

    @property
    def title(self) -> str:
        """Of which corpus, how long, and how many failed."""
        failed = len({failure.clip for failure in self.failures})
        return f"features of {self.corpus} on {self.device}, {self.seconds:.1f} s, {failed} failed"

    def records(self) -> Sequence[Mapping[str, Any]]:
        """A row a store."""
        return [
            {
                "store": store.path.name,
                "weights": store.weights,
                "clips": store.held + store.new,
                "new": store.new,
                "failed": store.failed,
                "frames": store.frames,
                "MB": round(store.bytes / 1e6, 2),
            }
            for store in self.stores
        ]

    @property
    def reasons(self) -> Mapping[str, int]:
        """Failures counted by modality and reason, most frequent first; names of files left out."""
        counted = Counter(
            f"{f.modality}: {f.reason.split(': ')[0].split(' of ')[0]}" for f in self.failures
        )
        return dict(counted.most_common())
