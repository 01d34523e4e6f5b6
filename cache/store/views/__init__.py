"""A whole store in the eyes of zarr-python and of h5py."""
