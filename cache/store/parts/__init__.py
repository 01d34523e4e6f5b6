"""Parts of a store: what they are, and their formats on disk."""
