"""What one trained run says of clips that belong to no corpus."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .spec import Modality


@dataclass(frozen=True)
class ClipPredictions:
    """One run's answers to some clips, in the order they were asked; a clip of which the run has
    not a single frame has none."""

    ids: tuple[str, ...]
    values: NDArray[np.float64]
    """(clips,) scores, or numbers of the run's classes; NaN where there is no answer."""
    probabilities: NDArray[np.float64] | None
    """(clips, classes), NaN likewise; None where scores are predicted."""
    present: Mapping[Modality, NDArray[np.bool_]]
    """(clips,) of each of the run's modalities: whether the clip has any real frame of it."""
    extras: Mapping[str, NDArray[np.float64]]
    """What the model tells of each clip beside, (clips, …): ``gate``."""
