"""Which store and which of its layers each line of [train.inputs] means; no features are read."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...cache.alignment.word_store import WordStore
from ...cache.alignment.word_times import read_words, refuse_wordless
from ...cache.runs import InputRecord
from ...cache.spec import MODALITIES, FeatureSpec, Modality, layer_names
from ...cache.store.find import store_of
from ...cache.store.store import Store
from ...config import Config, InputConfig
from ...errors import RunError

if TYPE_CHECKING:  # a probe reads inputs without torch
    from .live_inputs import FindLive, LiveInput


@dataclass(frozen=True)
class Input:
    """One modality's features, found but not read."""

    modality: Modality
    store: Store
    layers: tuple[str, ...]
    """Names of the stored layers used, in order."""
    weighted: bool
    """Whether the model mixes the layers by learned weights (else they are joined along width)."""
    align: str = ""
    """``words mean``: rows are words, so made; empty: frames as they are stored."""

    @property
    def spec(self) -> FeatureSpec:
        """Of the hidden states."""
        return self.store.spec

    @property
    def record(self) -> InputRecord:
        """What the run folder says of this input."""
        return InputRecord(
            modality=self.modality,
            encoder=self.spec.encoder,
            layers=self.layers,
            weighted=self.weighted,
            fingerprint=self.spec.fingerprint,
            weights=self.spec.weights,
            align=self.align,
        )


def find_inputs(
    config: Config, live: "FindLive | None" = None, words: bool = False
) -> "tuple[Input | LiveInput, ...]":
    """The inputs of [train.inputs], in the order T, A, V; `live` finds those that are.

    With `words`, live text is read as words, whatever is cached of it.

    Raises StoreError with a remedy where a store is missing, incomplete or made with other
    settings than its [[features]] table, or lacks a layer.
    """
    found: list[Input | LiveInput] = []
    for modality in MODALITIES:
        wanted = getattr(config.train.inputs, modality)
        if wanted is None:
            continue
        if not wanted.live:
            found.append(find_cached(config, modality, wanted))
        elif live is not None:
            found.append(live(config, modality, words))
        else:
            raise RunError(
                f"train.inputs.{modality}: nobody handed over its live encoder. "
                "`sedimental train`, or sedimental.train(config) from Python, does."
            )
    return tuple(found)


def find_cached(config: Config, modality: Modality, wanted: InputConfig) -> Input:
    """The store and layers that the line `wanted` means; raises StoreError as `find_inputs`."""
    store = store_of(config, modality, wanted.encoder)
    layers = layer_names(store.spec, wanted.layers)
    align = f"{wanted.align} {wanted.collapse}" if wanted.align else ""
    store = aligned(config, modality, store, align)
    return Input(modality, store, layers, wanted.layers == "weighted", align)


def aligned(config: Config, modality: Modality, store: Store, align: str) -> Store:
    """`store`, or under `align` (``words mean``) the same with a row a word.

    Raises StoreError where no clip has word times.
    """
    if not align:
        return store
    words = read_words(config.corpus_cache)
    refuse_wordless(config.corpus_cache, words, f"train.inputs.{modality}.align")
    return WordStore(store, words, align.removeprefix("words "))
