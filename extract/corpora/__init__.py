"""Corpus adapters: a folder the user already has becomes a manifest."""
