"""Feature stores: immutable parts of clips, one contiguous stretch a layer."""
