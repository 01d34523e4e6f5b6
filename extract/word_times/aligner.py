"""A CTC encoder at work: sound and transcript in, the transcript's words with their times out."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor

from ...cache.alignment.transcript import words_of
from ...cache.alignment.word import Word
from ..decode.clip_error import ClipError
from ..encoders.audio.waveform import frames_of, normalized
from ..encoders.device import ComputeDevice
from ..encoders.loading import EncoderError, digest_of_folder
from .letters import ids_of, load_forced_align, seconds_of, word_frames

WINDOW, MARGIN = 30.0, 2.0
"""Seconds that are heard at once, and how many more at either side, whose answers are not used."""
FAULTS = (OSError, ValueError, RuntimeError, KeyError, TypeError)


class Aligner:
    """wav2vec 2.0 and its kin with a head of letters, from the Hub or a folder."""

    def __init__(self, source: str, revision: str | None, arithmetic: ComputeDevice) -> None:
        """Raises EncoderError for a model without a CTC head or a vocabulary of letters."""
        load_forced_align()
        where: dict[str, Any] = {"pretrained_model_name_or_path": source}
        where |= {"trust_remote_code": False} | ({"revision": revision} if revision else {})
        try:
            model, report = transformers.AutoModelForCTC.from_pretrained(
                **where, dtype=torch.float32, output_loading_info=True
            )
            tokenizer: Any = transformers.AutoTokenizer.from_pretrained(**where)
        except FAULTS as fault:
            reason = next(iter(str(fault).strip().splitlines()), type(fault).__name__)
            raise EncoderError(
                f"words.aligner {source}: cannot be loaded: {reason} It has to be a CTC encoder "
                "with its tokenizer, of the Hub or made by `save_pretrained`."
            ) from None
        lacking = sorted(n for n in report["missing_keys"] if "masked_spec_embed" not in n)
        if lacking or not hasattr(model.config, "conv_stride"):
            raise EncoderError(
                f"words.aligner {source}: no encoder of sound that was trained to write letters "
                f"({', '.join(lacking[:2]) or type(model).__name__})."
            )
        self.model: Any = model.eval().requires_grad_(False).to(arithmetic.device)
        self.arithmetic, self.config = arithmetic, model.config
        self.vocabulary: dict[str, int] = tokenizer.get_vocab()
        self.blank = int(model.config.pad_token_id or 0)
        self.between = self.vocabulary.get(getattr(tokenizer, "word_delimiter_token", None) or "|")
        self.rate, self.normalize = _processing(where)
        self.stride = int(np.prod(model.config.conv_stride))

    def align(self, text: str, samples: NDArray[np.float32]) -> tuple[Word, ...]:
        """The words of `text` with their times in `samples` (at `rate`).

        Words that have no letter the encoder knows, as numbers in digits, have no times. Raises
        ClipError where none has one, or where more is said than the sound has room for.
        """
        spans = words_of(text)
        ids = [ids_of(text[begin:end], self.vocabulary) for begin, end in spans]
        if not any(ids):
            raise ClipError("align", "the aligner knows none of the transcript's letters")
        try:
            frames = word_frames(self.emission(samples), ids, self.blank, self.between)
        except ValueError as fault:
            raise ClipError("align", str(fault)) from None
        times = seconds_of(frames, self.stride / self.rate)
        return tuple(
            Word(text[a:b], None, None, a, b)
            if np.isnan(start)
            else Word(text[a:b], start, end, a, b)
            for (a, b), (start, end) in zip(spans, times.tolist(), strict=True)
        )

    def emission(self, samples: NDArray[np.float32]) -> Tensor:
        """(frames, letters) log-probabilities, window by window where the sound is long."""
        sound = normalized(torch.from_numpy(samples), self.normalize)
        step = int(WINDOW * self.rate) // self.stride * self.stride
        margin = int(MARGIN * self.rate) // self.stride * self.stride
        frames, parts = frames_of(self.config, len(samples)), list[Tensor]()
        if frames < 1:
            raise ValueError("the sound is too short for a frame")
        for first in range(0, len(samples), step):
            begin = max(0, first - margin)
            heard = sound[begin : first + step + margin]
            if first and len(samples) - first < self.stride:
                break
            with self.arithmetic.running():
                logits = self.model(heard[None].to(self.arithmetic.device)).logits[0]
            skip = (first - begin) // self.stride
            parts.append(logits.float().log_softmax(-1).cpu()[skip : skip + step // self.stride])
        return torch.cat(parts)[:frames]


def aligner_digest(source: str, revision: str | None) -> str:
    """What names the aligner's weights: of a folder its bytes, else the id and the revision."""
    if Path(source).is_dir():
        return digest_of_folder(Path(source))
    return f"{source}@{revision or 'main'}"


def _processing(where: dict[str, Any]) -> tuple[int, bool]:
    """Samples a second, and whether they are normed, as its processor says."""
    try:
        processor: Any = transformers.AutoFeatureExtractor.from_pretrained(**where)
    except (OSError, ValueError):
        return 16_000, True
    return int(processor.sampling_rate), bool(processor.do_normalize)
