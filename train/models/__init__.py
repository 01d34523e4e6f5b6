"""Fusion models, one file a paper."""
