"""Stage 1: clips in, every layer's hidden states of frozen encoders out."""
