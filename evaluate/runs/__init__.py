"""The runs of an experiment as a list: what each is, and whether it belongs to the pipeline."""
