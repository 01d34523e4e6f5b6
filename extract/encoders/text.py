"""Words to hidden states: BERT-like encoders, every token of every layer."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ...cache.writer import ClipFeatures
from .device import Arithmetic
from .hidden import stacked, tapped
from .loading import Checkpoint, EncoderError, load_model

VOCABULARY = Path(__file__).with_name("vocabulary.txt")
TOKENS_PER_BATCH = {"cpu": 2_048, "cuda": 65_536}


@dataclass(frozen=True)
class Words:
    """One clip's transcript, ready for a text encoder."""

    id: str
    source: str
    text: str


class TextEncoder:
    """Hidden states of every token; special tokens are kept and marked."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        tokenizer: Any,
        layers: tuple[str, ...],
        max_length: int,
        arithmetic: Arithmetic,
    ) -> None:
        self.family, self.layers, self.arithmetic = checkpoint.family, layers, arithmetic
        self.tokenizer, self.max_length = tokenizer, max_length
        self.model = load_model(checkpoint).to(arithmetic.device)

    def encode(self, clips: Sequence[Words]) -> list[ClipFeatures]:
        """Features of each clip, in order."""
        tokens = [
            self.tokenizer(c.text, truncation=True, max_length=self.max_length) for c in clips
        ]
        lengths = [len(t["input_ids"]) for t in tokens]
        found: dict[int, ClipFeatures] = {}
        budget = TOKENS_PER_BATCH[self.arithmetic.device.type]
        for batch in self.arithmetic.batches(lengths, budget):
            hidden = self.arithmetic.halving(batch, lambda b: self._forward([tokens[i] for i in b]))
            for index, values in zip(batch, hidden, strict=True):
                found[index] = self._features(clips[index], tokens[index], values)
        return [found[i] for i in range(len(clips))]

    def _forward(self, tokens: Sequence[Any]) -> list[NDArray[Any]]:
        lengths = [len(t["input_ids"]) for t in tokens]
        ids = torch.full((len(tokens), max(lengths)), self.tokenizer.pad_token_id)
        mask = torch.zeros(ids.shape, dtype=torch.long)
        for row, (token, length) in enumerate(zip(tokens, lengths, strict=True)):
            ids[row, :length] = torch.tensor(token["input_ids"])
            mask[row, :length] = 1
        device = self.arithmetic.device
        with (
            self.arithmetic.running(),
            tapped(self.model, self.family, self.layers, lambda hidden: hidden) as found,
        ):
            self.model(input_ids=ids.to(device), attention_mask=mask.to(device))
            hidden = stacked(found, self.layers)
        return self.arithmetic.unpacked(hidden, lengths)

    def _features(self, clip: Words, tokens: Any, values: NDArray[Any]) -> ClipFeatures:
        ids = np.asarray(tokens["input_ids"], dtype=np.int32)
        # words carry no time of their own here
        unknown = np.full(len(ids), np.nan, dtype=np.float32)
        special = np.isin(ids, np.asarray(self.tokenizer.all_special_ids))
        special &= ids != (self.tokenizer.unk_token_id if self.tokenizer.unk_token else -1)
        return ClipFeatures(
            id=clip.id,
            source=clip.source,
            values=values,
            times=unknown,
            durations=unknown,
            valid=np.ones(len(ids), dtype=np.bool_),
            side={"token_ids": ids, "special": special},
        )


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """The checkpoint's own tokenizer, or for random weights one over the packaged vocabulary."""
    if not checkpoint.trained:
        return _own_tokenizer()
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(**checkpoint.where)
    except (OSError, ValueError):
        tokenizer = None
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


@cache
def _own_tokenizer() -> Any:
    """WordPiece over `vocabulary.txt`: whole common words, any other word by its letters."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(c) for c in range(33, 127)]
    words = VOCABULARY.read_text(encoding="utf-8").split()
    pieces = dict.fromkeys([*names, *letters, *(f"##{x}" for x in letters), *words])
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
