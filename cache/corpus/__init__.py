"""The corpus of a cache folder: whose table it is, its media, and what is published of it."""
