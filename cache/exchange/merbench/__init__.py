"""Folders of features as MERBench keeps them, read and written."""
