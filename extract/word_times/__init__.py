"""When each word was said: read from a table or files, or found by laying words over the sound."""
