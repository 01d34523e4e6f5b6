"""The models in plain padded form: what `bench_train.py` measures the package's own against.

Each takes a model of the package, shares its weights, and computes the same function as its paper
is usually written down: on batches padded to the longest clip, padding and all, with PyTorch's own
layers, and with a mask where frames look at each other. No frame is left out and no clip is moved.
That predictions and gradients are those of the package is held by tests/test_train_padded.py.

Real frames stand at the front of each clip here, and inputs are one layer: neither gaps nor layer
weights, which the package's models take, are of interest to the benchmark.
"""

from collections.abc import Callable

from torch import nn

from .emt_dlfr import PaddedEMT
from .glomo import PaddedGLoMo
from .mmml import PaddedMMML
from .sugrm import PaddedSUGRM
from .uegd import PaddedUEGD

PADDED: dict[str, Callable[..., nn.Module]] = {
    "uegd": PaddedUEGD,
    "emt_dlfr": PaddedEMT,
    "glomo": PaddedGLoMo,
    "sugrm": PaddedSUGRM,
    "mmml": PaddedMMML,
}
"""Name of a model -> its padded form, called with the model."""
