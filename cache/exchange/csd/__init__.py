"""CMU-MultimodalSDK's computational sequences, read and written."""
