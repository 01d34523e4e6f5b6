"""Frozen encoders: waveforms, faces and words to hidden states of every layer."""
