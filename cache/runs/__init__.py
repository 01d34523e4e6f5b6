"""Trained runs on disk: their values, their identity, their folders."""

from .folder import (
    folder_of,
    list_runs,
    read_run,
    read_scores,
    read_weights,
    run_folder,
    write_run,
)
from .identity import Identity
from .run import Epoch, InputRecord, OtherCriterion, Predictions, Run, Scored

__all__ = [
    "Epoch",
    "Identity",
    "InputRecord",
    "OtherCriterion",
    "Predictions",
    "Run",
    "Scored",
    "folder_of",
    "list_runs",
    "read_run",
    "read_scores",
    "read_weights",
    "run_folder",
    "write_run",
]
