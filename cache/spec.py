"""What one feature store holds: of which encoder, made how, which layers."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from ..config import LayerChoice
from ..errors import StoreError

Modality = Literal["text", "audio", "vision"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
"""Always in this order: T, A, V."""
LETTERS: Mapping[Modality, str] = {"text": "T", "audio": "A", "vision": "V"}
Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
"""What the splits are called elsewhere, in lower case."""
StoredType = Literal["float16", "float32"]
Scalar = str | int | float | bool | None

MOSEI_EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")
"""The emotions of CMU-MOSEI, in the order of its label sequence: intensities from 0 to 3."""


@dataclass(frozen=True)
class Several:
    """Several labels a clip: scores on named dimensions, or emotions that are there or not."""

    kind: Literal["dimensions", "emotions"]
    names: tuple[str, ...]
    """In the order of the columns of labels and predictions (clips, names)."""


SEMANTICS = 1
"""Version of what the entries mean: "0" = input of block 1, "n" = output of block n before any
final norm, "final" = the encoder's final norm applied to the last block, where it has one."""


@dataclass(frozen=True)
class FeatureSpec:
    """One encoder's features of one corpus: everything that changes the numbers.

    `layers` names the stored entries in order: ``("0", "1", …, "24")``, then ``"final"`` where the
    encoder ends in a norm of its own. `recorded` is kept beside the numbers and never hashed.
    """

    modality: Modality
    encoder: str
    """Short name, fit for a folder: ``wavlm-large``."""
    source: str
    """Hub id or folder the weights and the preprocessing came from; the preset's id if random."""
    revision: str | None
    """Commit the Hub resolved; None for a folder or random weights."""
    weights: str
    """``hub``, ``folder``, ``random:<seed>``; ``imported`` where others made the features, then
    perhaps a space and what is known of theirs."""
    weights_digest: str
    """blake2b over every parameter: the same name with other numbers is another store."""
    layers: tuple[str, ...]
    width: int
    dtype: StoredType = "float16"
    preprocessing: Mapping[str, Scalar] = field(default_factory=dict)
    """fps, face size, margin, detector, sample rate, rate, pool, tokenizer digest, max length, …"""
    recorded: Mapping[str, Scalar] = field(default_factory=dict)
    """Library versions, device, precision of the machine that wrote first."""

    @property
    def untrained(self) -> bool:
        """Whether the encoder has random weights: true for every tiny-* encoder."""
        return is_untrained(self.weights)

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change if, and only if, the numbers may change."""
        hashed = {k: v for k, v in asdict(self).items() if k != "recorded"} | {
            "semantics": SEMANTICS
        }
        text = json.dumps(hashed, sort_keys=True, ensure_ascii=False)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def folder_name(self) -> str:
        """Folder of this store below its corpus: ``<modality>-<encoder>-<8 hex>``."""
        return f"{self.modality}-{self.encoder}-{self.fingerprint[:8]}"

    def positions(self, layers: Sequence[int | str]) -> tuple[int, ...]:
        """Index of each asked layer among the stored entries.

        An int counts as the papers do (0 = embedding, n = block n, -1 = last block); "final" is
        the normed output.

        >>> spec = FeatureSpec("text", "b", "b", None, "random:0", "", ("0", "1", "2", "final"), 4)
        >>> spec.positions([1, -1, "final"])
        (1, 2, 3)
        """
        blocks = [name for name in self.layers if name.isdigit()]
        found = []
        for layer in layers:
            name = str(layer)
            if isinstance(layer, int) and layer < 0:
                # counted from the encoder's own last block, which need not be the last one stored
                name = blocks[layer] if -len(blocks) <= layer else name
            if name not in self.layers:
                raise StoreError(
                    f"{self.encoder}: layer {layer!r} is not stored. Stored: "
                    f"{', '.join(self.layers)} (0 = embedding, -1 = {blocks[-1]})."
                )
            found.append(self.layers.index(name))
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file; `from_json` turns them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "FeatureSpec":
        """The spec that `to_json` wrote."""
        return cls(**{**values, "layers": tuple(values["layers"])})


def is_untrained(weights: str) -> bool:
    """Whether `weights`, as a spec has them, are random.

    >>> is_untrained("random:0"), is_untrained("imported random:0"), is_untrained("imported")
    (True, True, False)
    """
    return weights.removeprefix("imported ").startswith("random:")


def layer_names(spec: FeatureSpec, choice: LayerChoice) -> tuple[str, ...]:
    """Names of the stored layers that `choice` means; raises StoreError if one is not stored.

    ``"weighted"`` means every stored block: the embedding (layer 0) and the normed output
    (``final``) are no blocks.

    >>> spec = FeatureSpec("text", "b", "b", None, "random:0", "", ("0", "1", "2", "final"), 4)
    >>> layer_names(spec, "weighted"), layer_names(spec, (-1, 1)), layer_names(spec, "final")
    (('1', '2'), ('2', '1'), ('final',))
    """
    if choice == "weighted":
        return tuple(name for name in spec.layers if name.isdigit() and name != "0")
    asked = choice if isinstance(choice, tuple) else (choice,)
    return tuple(spec.layers[position] for position in spec.positions(asked))
