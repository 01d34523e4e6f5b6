"""Stage 3: predictions in, numbers, tables and a report out."""

from ..cache.stage import callable_stage

callable_stage(__name__, ".report")
