"""Stage 2: cached layers in, predictions out."""

from ..cache.stage import callable_stage

callable_stage(__name__, ".run")
