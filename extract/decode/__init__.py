"""A clip's frames and samples, decoded once."""
