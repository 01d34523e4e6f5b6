"""Frozen encoders: waveforms, faces and words to hidden states of every layer."""

from ...installation import do_without

do_without("torchaudio")  # before transformers: see there
