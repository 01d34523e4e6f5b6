"""Pickles of features as MMSA and MultiBench keep them, read and written."""
