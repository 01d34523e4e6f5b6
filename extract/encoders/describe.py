"""The FeatureSpec of an encoder: all that its numbers depend on, known before it is loaded."""

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from ...cache.spec import FeatureSpec, Modality, Scalar, StoredType
from ...config import AnyFeatures
from ...errors import StoreError
from .hidden import has_final, layer_names
from .loading import Checkpoint, EncoderError
from .pooling import parts


def describe(
    features: AnyFeatures,
    modality: Modality,
    checkpoint: Checkpoint,
    dtype: StoredType,
    preprocessing: Mapping[str, Scalar],
) -> FeatureSpec:
    """The spec of the store that `features` fills; raises EncoderError for an unknown layer."""
    config: Any = checkpoint.config
    folder = checkpoint.weights == "folder"  # its name is enough: the digest tells which it is
    names = layer_names(config.num_hidden_layers, has_final(config, checkpoint.family))
    every = FeatureSpec(
        modality=modality,
        encoder=checkpoint.slug,
        source=Path(checkpoint.source).name if folder else checkpoint.source,
        revision=checkpoint.revision,
        weights=checkpoint.weights,
        weights_digest=checkpoint.digest,
        layers=names,
        width=config.hidden_size * parts(features.pool),
        dtype=dtype,
        preprocessing=preprocessing,
        recorded={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "architecture": checkpoint.family.model,
        },
    )
    if features.layers == "all":
        return every
    try:
        chosen = sorted(set(every.positions(features.layers)))
    except StoreError as fault:
        raise EncoderError(f"[[features]] encoder {features.encoder}: {fault}") from None
    # the values stay a faithful copy of the spec with fewer entries
    return FeatureSpec.from_json(every.to_json() | {"layers": tuple(names[i] for i in chosen)})
