"""Whisper at work: sound in, text and the times of its words out."""

import logging
import warnings
import zlib
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
from ..encoders.device import ComputeDevice
from ..encoders.loading import EncoderError
from .windows import windows

FAULTS = (OSError, ValueError, RuntimeError, KeyError, TypeError)
ENGLISH = ("en", "english")
SHORTEST = 0.1
"""Seconds of sound in which a word has room."""
CIRCLE = 2.4
"""Compression that speech does not reach."""
FIRST = 1.0
"""Seconds that the first word of a window lasts at most."""


@dataclass(frozen=True)
class Heard:
    """What was heard in one sound."""

    text: str
    words: tuple[Word, ...] = ()
    """With times, where the model knows which of its heads align; else none."""


class Recogniser:
    """A Whisper from the Hub or a folder made by `save_pretrained`."""

    def __init__(
        self, source: str, revision: str | None, language: str | None, arithmetic: ComputeDevice
    ) -> None:
        """`language` None: found out for each window. Raises EncoderError for what is no Whisper,
        or one that does not know the language."""
        where: dict[str, Any] = {"pretrained_model_name_or_path": source}
        where |= {"trust_remote_code": False} | ({"revision": revision} if revision else {})
        try:
            config = transformers.AutoConfig.from_pretrained(**where)
            if config.model_type != "whisper":
                raise ValueError(f"its model type is {config.model_type!r}, not 'whisper'.")
            kind: Any = transformers.WhisperForConditionalGeneration
            model, report = kind.from_pretrained(
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
        _without_attention(self.model.model.encoder)
        self.arithmetic = arithmetic
        self.rate = int(self.spectrogram.sampling_rate)
        self.longest = float(self.spectrogram.chunk_length)
        self.settings = self._settings(source, language)
        self.marks = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
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
        asked = (language or "").lower()
        if language is not None and f"<|{names.get(asked, asked)}|>" not in known:
            raise EncoderError(
                f"--language {language}: {source} does not know it. Give a code like en, zh or de."
            )
        return {"task": "transcribe", "language": language}

    def hear(self, sounds: Sequence[NDArray[np.float32]], batch: int) -> list[Heard]:
        """What is said in each of `sounds` (at `rate`), `batch` windows at a time; nothing in less
        than `SHORTEST`, in which the model would hear words all the same."""
        pieces = [
            (number, first, sound[first:last])
            for number, sound in enumerate(sounds)
            for first, last in windows(sound, self.rate, self.longest)
            if last - first >= SHORTEST * self.rate
        ]
        by_sound: list[list[Heard]] = [[] for _ in sounds]
        for at in range(0, len(pieces), batch):
            some = pieces[at : at + batch]
            heard = self.arithmetic.halving([sound for _, _, sound in some], self._batch)
            for (number, first, _), part in zip(some, heard, strict=True):
                by_sound[number].append(_later(part, first / self.rate))
        return [_joined(part) for part in by_sound]

    def _batch(self, sounds: Sequence[NDArray[np.float32]]) -> list[Heard]:
        """What is heard in each window; one that runs in a circle is heard once more, apart, where
        no three tokens may come twice."""
        results = self._pass(sounds)
        for number, heard in enumerate(results):
            if runs_in_a_circle(heard.text):
                [results[number]] = self._pass([sounds[number]], no_repeat_ngram_size=3)
        return results

    def _pass(self, sounds: Sequence[NDArray[np.float32]], **how: int) -> list[Heard]:
        shown = self.spectrogram(
            list(sounds),
            sampling_rate=self.rate,
            return_tensors="pt",
            return_attention_mask=True,
        ).to(self.arithmetic.device)
        with self.arithmetic.running(), _quiet():
            generated = self.model.generate(
                shown["input_features"],
                attention_mask=shown["attention_mask"],
                return_timestamps=self.timed,
                return_token_timestamps=self.timed,
                return_dict_in_generate=self.timed,
                **self.settings,
                **how,
            )
        sequences = (generated["sequences"] if self.timed else generated).tolist()
        times = generated["token_timestamps"].tolist() if self.timed else [None] * len(sequences)
        results = []
        for ids, moments, sound in zip(sequences, times, sounds, strict=True):
            text = self.tokenizer.decode([token for token in ids if not self._is_special(token)])
            words = self._words(ids, moments, len(sound) / self.rate) if moments else ()
            results.append(Heard(" ".join(text.split()), tuple(words)))
        return results

    def _is_special(self, token: int) -> bool:
        """Whether a token stands for no letters: a mark of the format, or a time stamp."""
        return token in self.marks or token > self.model.generation_config.no_timestamps_token_id

    def _words(self, ids: Sequence[int], ends: Sequence[float], seconds: float) -> Iterator[Word]:
        """Tokens that make one word together, from the end of what came before to their own end.

        `ends` are the library's moments of `ids`: those at which the next token sets in. Signs
        after a word do not lengthen it; the first word of a window is `FIRST` long at most, as it
        would begin with the silence before it.
        """
        word: list[int] = []
        before, start, end, first = 0.0, 0.0, 0.0, True
        for token, moment in [*zip(ids, ends, strict=False), (self.model.config.eos_token_id, 0.0)]:
            special, moment = self._is_special(token), max(moment, before)
            if word and (special or self._begins(word, token)):
                begin = max(start, end - FIRST) if first else start
                yield _word(self.tokenizer.decode(word), begin, end, seconds)
                word, first = [], False
            if not special:
                piece = self.tokenizer.decode([token])
                if not word:
                    start = end = before
                word.append(token)
                if any(c.isalnum() or c == "\ufffd" for c in piece):
                    end = moment
            before = moment

    def _begins(self, word: Sequence[int], token: int) -> bool:
        """Whether `token` begins another word than that of the tokens `word`."""
        before = self.tokenizer.decode(word)
        whole = bool(before) and "\ufffd" not in before
        return self.tokenizer.decode([token]).startswith(" ") or (whole and is_single(before[-1]))


def runs_in_a_circle(text: str) -> bool:
    """Whether `text` repeats itself as no speech does: its bytes pack into less than 1 / 2.4.

    The bound is Whisper's (Radford et al., arXiv:2212.04356, section 4.5).

    >>> runs_in_a_circle("uh-" * 60), runs_in_a_circle("The talk starts at six today.")
    (True, False)
    """
    data = text.encode()
    return len(data) > CIRCLE * len(zlib.compress(data))


def _without_attention(encoder: Any) -> None:
    """Word times need where the decoder looks alone; the encoder's own attention would be handed
    out too, gigabytes of it."""
    whole = encoder.forward

    def forward(*given: Any, **named: Any) -> Any:
        return whole(*given, **{**named, "output_attentions": False})

    encoder.forward = forward


def _word(text: str, start: float, end: float, seconds: float) -> Word:
    start = min(max(0.0, start), seconds)  # the library's may lie a frame before the beginning
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
    """Without what the library warns of itself: settings it hands on, a spread of one token."""
    logger = logging.getLogger("transformers")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
