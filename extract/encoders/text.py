"""Words to hidden states: BERT-like encoders, every token of every layer."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer

from ...cache.alignment.word_store import CHARACTERS
from ...cache.spec import Scalar
from ...cache.store.writer import ClipFeatures
from ...config import TextFeatures
from .budget import Budget
from .device import ComputeDevice, Sharing
from .frozen import frozen
from .hidden import capture_hidden_states, stacked
from .loading import Checkpoint, EncoderError, saved_with
from .made_tokenizers import HAN, Script, made_tokenizer
from .pooling import pooled_clip

TOKENS_PER_BATCH = {"cpu": 2_048, "cuda": 65_536}
TOKENS_PER_WORD = 1.4
OFFSET = ("roberta", "xlm-roberta")
"""Model types whose first token stands at the position after the padding token's id."""


@dataclass(frozen=True)
class Words:
    """One clip's transcript, ready for a text encoder."""

    id: str
    source: str
    text: str
    before: tuple[str, ...] = ()
    """What was said before it, oldest first, to be read in the same pass."""


@dataclass(frozen=True)
class Tokens:
    """What a transcript becomes: the ids, and which of them are the clip's own words."""

    ids: NDArray[np.int32]
    own: NDArray[np.bool_]
    characters: NDArray[np.int32]
    """(tokens, 2) where each stands in the transcript, -1 for those that are not of it."""


class TokenReader:
    """Transcripts to token ids."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length
        self.cut: set[str] = set()
        """Clips that lost words, of their own or of what was said before, to `max_length`."""

    def tokens(self, clip: Words) -> Tokens:
        """``[CLS] older [SEP] old [SEP] own words [SEP]``, at most `max_length` of them.

        The clip's own words have the first claim on the room and lose their end; then what was
        said before loses its oldest tokens. (MMML joins the same way, but as a sequence without
        the clip's own words, and drops the nearest ones first.)
        """
        whole = self.tokenizer(
            clip.text, truncation=True, max_length=self.max_length, return_offsets_mapping=True
        )
        ids, cut = list(whole["input_ids"]), bool(whole.encodings[0].overflowing)
        special = self.special(np.asarray(ids))
        own = ~special
        places = np.where(own[:, None], np.asarray(whole["offset_mapping"]), -1).astype(np.int32)
        earlier: list[int] = []
        for text in clip.before:
            words = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
            earlier += [*words, self.tokenizer.sep_token_id]
        room = self.max_length - len(ids)
        if len(earlier) > room:
            earlier, cut = earlier[len(earlier) - room :], True
        before = np.full((len(earlier), 2), -1, np.int32)
        if cut:
            self.cut.add(clip.id)
        return Tokens(
            ids=np.asarray([ids[0], *earlier, *ids[1:]], dtype=np.int32),
            own=np.concatenate([own[:1], np.zeros(len(earlier), np.bool_), own[1:]]),
            characters=np.concatenate([places[:1], before, places[1:]]),
        )

    def special(self, ids: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of `ids` are special tokens, (tokens,)."""
        special: NDArray[np.bool_] = np.isin(ids, np.asarray(self.tokenizer.all_special_ids))
        unknown = self.tokenizer.unk_token_id
        known: NDArray[np.bool_] = ids != (-1 if unknown is None else unknown)
        return special & known


class TextEncoder(TokenReader):
    """Hidden states of every token; special tokens are kept and marked.

    A clip's features do not depend on its batch: in fp32 to 1e-5 of the layer's largest value, in
    fp16 to 2e-3 and in bf16 to 2e-2 (measured up to base size; `batch_independence` sees to it).
    With `context`, side array `own` marks the clip's own words among those said before it.
    """

    sharing: Sharing = "any lengths"

    def __init__(
        self,
        checkpoint: Checkpoint,
        tokenizer: Any,
        layers: tuple[str, ...],
        max_length: int,
        arithmetic: ComputeDevice,
        context: int = 0,
        pool: str = "none",
    ) -> None:
        super().__init__(tokenizer, max_length)
        self.pool = pool
        self.family, self.layers, self.arithmetic = checkpoint.family, layers, arithmetic
        self.context = context
        self.model = frozen(checkpoint, self.layers, arithmetic)
        self.budget = Budget(arithmetic, TOKENS_PER_BATCH)

    def encode(self, clips: Sequence[Words]) -> list[ClipFeatures]:
        """Features of each clip, in order."""
        tokens = [self.tokens(clip) for clip in clips]
        hidden = self.budget.encode(
            [len(t.ids) for t in tokens],
            self.sharing,
            lambda batch: self._forward([tokens[i].ids for i in batch]),
        )
        return list(map(self._features, clips, tokens, hidden))

    def _forward(self, tokens: Sequence[NDArray[np.int32]]) -> list[NDArray[Any]]:
        lengths = [len(ids) for ids in tokens]
        batch = torch.full((len(tokens), max(lengths)), self.tokenizer.pad_token_id)
        mask = torch.zeros(batch.shape, dtype=torch.long)
        for row, ids in enumerate(tokens):
            batch[row, : len(ids)] = torch.from_numpy(ids)
            mask[row, : len(ids)] = 1
        device = self.arithmetic.device
        with (
            self.arithmetic.running(),
            capture_hidden_states(
                self.model, self.family, self.layers, lambda hidden: hidden
            ) as states,
        ):
            self.model(input_ids=batch.to(device), attention_mask=mask.to(device))
            hidden = stacked(states, self.layers)
        return self.arithmetic.unpacked(hidden, lengths)

    def _features(self, clip: Words, tokens: Tokens, values: NDArray[Any]) -> ClipFeatures:
        # words carry no time of their own here
        unknown = np.full(len(tokens.ids), np.nan, dtype=np.float32)
        features = ClipFeatures(
            id=clip.id,
            source=clip.source,
            values=values,
            times=unknown,
            durations=unknown,
            valid=np.ones(len(tokens.ids), dtype=np.bool_),
            side={
                "token_ids": tokens.ids,
                "special": self.special(tokens.ids),
                CHARACTERS: tokens.characters,
            }
            | ({"own": tokens.own} if self.context else {}),
        )
        return pooled_clip(features, self.pool, tokens.own if self.context else None)


def longest(checkpoint: Checkpoint) -> int:
    """Tokens, special ones counted, that the encoder has positions for."""
    config = checkpoint.config
    places = int(getattr(config, "max_position_embeddings", 512))
    return places - config.pad_token_id - 1 if config.model_type in OFFSET else places


def about(text: str) -> float:
    """Tokens, guessed: one a Chinese character, and `TOKENS_PER_WORD` a word of anything else.

    >>> about("we like it"), about("\u6211\u5f88\u559c\u6b22")
    (4.2, 4.0)
    """
    characters = sum(ord(c) in HAN for c in text)
    other = "".join(" " if ord(c) in HAN else c for c in text).split()
    return round(characters + TOKENS_PER_WORD * len(other), 6)


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """The checkpoint's own tokenizer, or for random weights a made one of the same kind."""
    if not checkpoint.trained:
        return _made(checkpoint)
    tokenizer = saved_with(checkpoint, AutoTokenizer)
    # a folder without one gives, in silence, a tokenizer that knows its special tokens alone
    if tokenizer is None or len(tokenizer) <= len(tokenizer.all_special_tokens) + 1:
        raise EncoderError(
            f"encoder {checkpoint.source}: has no tokenizer. Save it beside the model with "
            "`tokenizer.save_pretrained`."
        )
    return tokenizer


def tokenizer_digest(tokenizer: Any) -> str:
    """16 hex digits over the tokenizer's vocabulary and rules."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        text = repr(sorted(tokenizer.get_vocab().items()))
    else:
        rules = json.loads(backend.to_str())
        # what the last call asked for is kept among the rules, and is none of them
        text = json.dumps({k: v for k, v in rules.items() if k not in ("truncation", "padding")})
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def preprocessing_of(settings: TextFeatures, tokenizer: Any) -> dict[str, Scalar]:
    """What a store's numbers depend on beside the weights."""
    how: dict[str, Scalar] = {
        "max_length": settings.max_length,
        "tokenizer": tokenizer_digest(tokenizer),
    }
    how |= {"context": settings.context} if settings.context else {}
    how |= {"pool": settings.pool} if settings.pool != "none" else {}
    return how | ({"case": settings.case} if settings.case != "kept" else {})


def cased(text: str, case: str) -> str:
    """The transcript as it is read.

    >>> cased("Not GOOD, Ann", "lower"), cased("NOT", "kept")
    ('Not good, ann', 'NOT')
    """
    if case != "lower":
        return text
    small = text[:1] + text[1:].lower()
    if len(small) == len(text):
        return small
    # where a token stands is counted in the transcript's own characters
    rest = (c if len(c.lower()) > 1 else c.lower() for c in text[1:])
    return text[:1] + "".join(rest)


def _made(checkpoint: Checkpoint) -> Any:
    script: Script = "latin"
    if checkpoint.preset and checkpoint.preset.processing.get("script") == "han":
        script = "han"
    tokenizer = made_tokenizer(checkpoint.config.model_type in OFFSET, script)
    if len(tokenizer) > checkpoint.config.vocab_size:
        raise EncoderError(
            f"encoder {checkpoint.source}: with random weights it is given a vocabulary of "
            f"{len(tokenizer)} pieces, more than its vocab_size = {checkpoint.config.vocab_size}. "
            f"Make the folder's vocab_size at least {len(tokenizer)}."
        )
    return tokenizer
