"""Encoders known by name, one table a modality."""
