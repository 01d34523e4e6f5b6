"""The reference toolkit (MMSA, from PyPI) beside our baselines: `make toolkit`."""
