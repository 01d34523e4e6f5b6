"""Whisper at work: sound in, text and the times of its words out."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from ...cache.alignment.transcript import is_single
from ...cache.alignment.word import Word
from ..encoders.device import Arithmetic
from ..encoders.loading import EncoderError
from .windows import windows

FAULTS = (OSError, ValueError, RuntimeError, KeyError, TypeError)
ENGLISH = ("en", "english")


@dataclass(frozen=True)
class Heard:
    """What was heard in one sound."""

    text: str
    words: tuple[Word, ...] = ()
    """With times, where the model knows which of its heads align; else none."""


class Recogniser:
    """A Whisper from the Hub or a folder made by `save_pretrained`."""

    def __init__(
        self, source: str, revision: str | None, language: str | None, arithmetic: Arithmetic
    ) -> None:
        """`language` None: found out for each window. Raises EncoderError for what is no Whisper,
        or one that does not know the language."""
        where: dict[str, Any] = {"pretrained_model_name_or_path": source}
        where |= {"trust_remote_code": False} | ({"revision": revision} if revision else {})
        try:
            config = transformers.AutoConfig.from_pretrained(**where)
            if config.model_type != "whisper":
                raise ValueError(f"its model type is {config.model_type!r}, not 'whisper'.")
            model, report = transformers.WhisperForConditionalGeneration.from_pretrained(
                **where, dtype=torch.float32, output_loading_info=True
            )
            self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(**where)
            self.spectrogram: Any = transformers.AutoFeatureExtractor.from_pretrained(**where)
        except FAULTS as fault:
            reason = next(iter(str(fault).strip().splitlines()), type(fault).__name__)
            raise EncoderError(
                f"--model {source}: cannot be loaded: {reason} It has to be a Whisper with its "
                "tokenizer, a Hub id or a folder made by `save_pretrained`."
            ) from None
        lacking = sorted(name for name in report["missing_keys"] if name != "proj_out.weight")
        if lacking:
            raise EncoderError(f"--model {source}: lacks {len(lacking)} weights ({lacking[0]}, …).")
        self.model: Any = model.eval().requires_grad_(False).to(arithmetic.device)
        self.arithmetic = arithmetic
        self.rate = int(self.spectrogram.sampling_rate)
        self.longest = float(self.spectrogram.chunk_length)
        self.settings = self._settings(source, language)
        heads = getattr(self.model.generation_config, "alignment_heads", None)
        self.timed = bool(heads)

    def _settings(self, source: str, language: str | None) -> dict[str, Any]:
        many = getattr(self.model.generation_config, "is_multilingual", False)
        if not many:
            if language is not None and language.lower() not in ENGLISH:
                raise EncoderError(
                    f"--language {language}: {source} knows English alone. Take a Whisper whose "
                    'name does not end in ".en".'
                )
            return {}
        known = set(getattr(self.model.generation_config, "lang_to_id", None) or {})
        names = transformers.models.whisper.tokenization_whisper.TO_LANGUAGE_CODE
        given = (language or "").lower()
        if language is not None and f"<|{names.get(given, given)}|>" not in known:
            raise EncoderError(
                f"--language {language}: {source} does not know it. Give a code like en, zh or de."
            )
        return {"task": "transcribe", "language": language}

    def hear(self, sounds: Sequence[NDArray[np.float32]], batch: int) -> list[Heard]:
        """What is said in each of `sounds` (at `rate`), `batch` windows at a time."""
        pieces = [
            (number, first, sound[first:last])
            for number, sound in enumerate(sounds)
            for first, last in windows(sound, self.rate, self.longest)
        ]
        found: list[list[Heard]] = [[] for _ in sounds]
        for at in range(0, len(pieces), batch):
            some = pieces[at : at + batch]
            heard = self.arithmetic.halving([sound for _, _, sound in some], self._batch)
            for (number, first, _), own in zip(some, heard, strict=True):
                found[number].append(_later(own, first / self.rate))
        return [_joined(own) for own in found]

    def _batch(self, sounds: Sequence[NDArray[np.float32]]) -> list[Heard]:
        shown = self.spectrogram(
            list(sounds),
            sampling_rate=self.rate,
            return_tensors="pt",
            return_attention_mask=True,
        ).to(self.arithmetic.device)
        with self.arithmetic.running(), _quiet():
            made = self.model.generate(
                shown["input_features"],
                attention_mask=shown["attention_mask"],
                return_token_timestamps=self.timed,
                return_dict_in_generate=self.timed,
                **self.settings,
            )
        sequences = (made["sequences"] if self.timed else made).tolist()
        times = made["token_timestamps"].tolist() if self.timed else [None] * len(sequences)
        found = []
        for ids, moments, sound in zip(sequences, times, sounds, strict=True):
            text = self.tokenizer.decode(ids, skip_special_tokens=True).strip()
            words = self._words(ids, moments, len(sound) / self.rate) if moments else ()
            found.append(Heard(" ".join(text.split()), tuple(words)))
        return found

    def _words(
        self, ids: Sequence[int], moments: Sequence[float], seconds: float
    ) -> Iterator[Word]:
        """Tokens that make one word together, from the first one's moment to the next word's."""
        special = set(self.tokenizer.all_special_ids)
        special |= set(self.tokenizer.added_tokens_decoder)
        own: list[int] = []
        start = 0.0
        for token, moment in zip(ids, moments, strict=False):
            ends = own and (token in special or self._begins(own, token))
            if ends:
                yield _word(self.tokenizer.decode(own), start, moment, seconds)
                own = []
            if token not in special:
                start = start if own else moment
                own.append(token)
        if own:
            yield _word(self.tokenizer.decode(own), start, seconds, seconds)

    def _begins(self, own: Sequence[int], token: int) -> bool:
        """Whether `token` begins another word than that of the tokens `own`."""
        before = self.tokenizer.decode(own)
        whole = bool(before) and "\ufffd" not in before
        return self.tokenizer.decode([token]).startswith(" ") or (whole and is_single(before[-1]))


def _word(text: str, start: float, end: float, seconds: float) -> Word:
    start = min(start, seconds)
    return Word(text.strip(), round(start, 3), round(max(start, min(end, seconds)), 3))


def _later(heard: Heard, seconds: float) -> Heard:
    words = (
        Word(w.text, round((w.start or 0.0) + seconds, 3), round((w.end or 0.0) + seconds, 3))
        for w in heard.words
    )
    return Heard(heard.text, tuple(words))


def _joined(parts: Sequence[Heard]) -> Heard:
    return Heard(
        " ".join(part.text for part in parts if part.text),
        tuple(word for part in parts for word in part.words),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the library warns of settings that it hands to itself."""
    logger = logging.getLogger("transformers")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
