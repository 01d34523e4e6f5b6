"""Fixed inputs: one a modality, to notice when a library changes its numbers, and three short ones,
to see whether a loaded encoder's features depend on what shares their batch."""

import numpy as np
from numpy.typing import NDArray

from ...cache.spec import Scalar
from ...cache.store.writer import StoreWriter
from ..decode.clip_error import clip_error
from ..encoders.audio.sound import Sound
from ..encoders.device import SHARINGS
from ..encoders.text import Words
from .stream import Stream

WORDS = "We did not like the film at all, but the music was wonderful."
FEW, TURNED = "We like it", "it like We"
"""A short text, and one of the same words."""
SECONDS = 1.0
SHORT, LONGER = 0.1, 0.4
"""Seconds of the sounds that share a batch: a few frames, and padding beside them."""
BATCHES, COMPUTED, APART = "batches", "batches measured in", "batches differ by"
"""Keys under which a store's spec records the outcome."""


def reference_words() -> Words:
    """The text of a store's probe; it is no clip of the corpus."""
    return Words("golden", "", WORDS)


def reference_noise(samples: int) -> NDArray[np.float32]:
    """The sound of a store's probe, (samples,)."""
    return np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)


def reference_crop(size: int) -> NDArray[np.uint8]:
    """The crop of a store's probe, (1, size, size, 3)."""
    return np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)


def texts_for_a_batch() -> list[Words]:
    """A short text, one of as many tokens, and a longer one."""
    return [Words("fixed", "", text) for text in (FEW, TURNED, WORDS)]


def sounds_for_a_batch(rate: int) -> list[Sound]:
    """A short sound, one as long, and a longer one."""
    random = np.random.default_rng(1)
    return [
        Sound("fixed", "", random.normal(0, 0.1, round(s * rate)).astype(np.float32))
        for s in (SHORT, SHORT, LONGER)
    ]


def crops_for_a_batch(size: int) -> list[NDArray[np.uint8]]:
    """Three crops (size, size, 3)."""
    random = np.random.default_rng(1)
    return [random.integers(0, 256, (size, size, 3), np.uint8) for _ in range(3)]


def independence(stream: Stream, writer: StoreWriter, held: bool) -> str:
    """Have the loaded encoder batch in a way that leaves each clip's features its own.

    That is measured where the store does not say it for this precision and kind of device, and
    recorded in the store's spec, which its fingerprint leaves out. Returns what is to be said of
    it, or "". An encoder that fails on the short inputs encodes clips one by one, and is measured
    again the next time; one that fails on every input is found out by the reference input. With
    `held` features that an earlier version batched as if nothing leaked, that says so.
    """
    encoder = stream.encoder
    if encoder is None:
        return ""
    believed, known = encoder.sharing, writer.recorded
    computed = encoder.arithmetic.name
    if known.get(COMPUTED) == computed and known.get(BATCHES) in SHARINGS:
        encoder.sharing = known[BATCHES]
        apart = float(known.get(APART) or 0.0)
    else:
        try:
            apart = stream.leakage()
        except Exception as fault:
            encoder.sharing = "one by one"
            reason = clip_error("encode", fault).reason
            return (
                f"{writer.path.name}: whether clips can share a batch cannot be measured "
                f"({reason}): clips are encoded one by one"
            )
        outcome: dict[str, Scalar] = {BATCHES: encoder.sharing, COMPUTED: computed}
        writer.note(outcome | {APART: float(f"{min(apart, 1e9):.2g}")})
    if encoder.sharing == "any lengths":
        return ""
    how = {"equal lengths": "clips of equal length alone share a batch"}
    batching = how.get(encoder.sharing, "clips are encoded one by one")
    if encoder.sharing == believed:
        return f"{writer.path.name}: padding would change its features: {batching}"
    line = (
        f"{writer.path.name}: features of a clip depend on what shares its batch (by {apart:.2g} "
        f"of a layer's largest value): {batching}"
    )
    if held and BATCHES not in known:
        line += (
            "; those that the store holds were made in mixed batches: "
            f"`sedimental cache rm {writer.path}` and extract again"
        )
    return line
