"""Cached layers as tensors: loading, scaling, masking, missing features."""
