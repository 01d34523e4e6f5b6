"""Transcripts by machine: tables of raw videos, and their empty texts filled by Whisper."""
