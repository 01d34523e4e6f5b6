"""What there is to know of keys, models, encoders and metrics, read from the code itself."""
