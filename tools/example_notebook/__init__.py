"""The example notebook of the documentation."""
