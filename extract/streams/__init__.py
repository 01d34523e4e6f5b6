"""One modality's way from clips through its encoder to its store."""
