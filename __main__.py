"""`python -m sedimental`."""

from .cli import app

app()
