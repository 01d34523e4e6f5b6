"""Pickles and numpy files of others, read as plain data by a reader of our own."""
