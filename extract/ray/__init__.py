"""Extraction on Ray actors, one a GPU."""
