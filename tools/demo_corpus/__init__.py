"""Makes the demo corpus: drawn faces, spoken sentences, labels."""
