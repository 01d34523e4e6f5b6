"""Mutation fuzzing of every reader of files: `make fuzz`."""
