"""Encoders of sound: a file a reader (waveform, Whisper, log-mel, eGeMAPS), and what they share."""
