"""A pipeline over one table of text, corpus.csv, that trains in a moment."""


def text_pipeline(corpus: str, epochs: int = 1, bootstrap: int = 10) -> str:
    """pipeline.toml; `corpus` are further lines of [corpus]."""
    return f"""
[corpus]
kind = "csv"
path = "corpus.csv"
{corpus}
[[features]]
modality = "text"
encoder = "tiny-bert"
[train]
models = ["uegd"]
seeds = [1, 2]
epochs = {epochs}
[train.inputs]
text = {{ encoder = "tiny-bert", layers = -1 }}
[train.uegd]
hidden = 4
embedding = 4
[evaluate]
bootstrap = {bootstrap}
"""
