"""Stage 1: clips in, every layer's hidden states of frozen encoders out."""

from ..cache.stage import callable_stage

callable_stage(__name__, ".run")
