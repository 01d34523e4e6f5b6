"""All fusion models in one table: papers, needs, and how large each is on a pipeline's inputs."""

from dataclasses import dataclass
from typing import Any

from ..config import Config
from ..errors import SedimentalError
from ..model_table import MODELS, Model
from .data.inputs import find_inputs
from .data.live_inputs import FindLive, shape_of
from .models import started
from .unfit import without_data


@dataclass(frozen=True)
class CatalogueRow:
    """One model."""

    name: str
    model: Model
    parameters: int | None
    """Trained weights on the pipeline's inputs, with its options and without encoders; None where
    there is no pipeline, no store or no fit."""

    def to_json(self) -> dict[str, Any]:
        """What `sedimental models --json` prints."""
        paper = self.model.paper
        return {
            "model": self.name,
            "paper": paper and paper.title,
            "authors": paper and paper.authors.split(" and "),
            "venue": paper and paper.venue,
            "year": paper and paper.year,
            "arxiv": (paper and paper.arxiv) or None,
            "needs": list(self.model.needs),
            "parameters": self.parameters,
            "bibtex": paper and paper.bibtex(self.name),
        }


@dataclass(frozen=True)
class Catalogue:
    """All of them."""

    rows: tuple[CatalogueRow, ...]
    unknown: str
    """Why parameters are not told of any; empty where they are."""


def catalogue(config: Config | None, live: FindLive | None = None) -> Catalogue:
    """Every model there is; no features are read.

    `config` gives the inputs by whose widths models are counted; `live` finds those whose encoders
    are trained.
    """
    shapes, why = {}, "no pipeline.toml"
    if config is not None:
        try:
            inputs = find_inputs(config, live)
            shapes = {one.modality: shape_of(one) for one in inputs}
            why = "" if shapes else "[train.inputs] names no input"
        except SedimentalError as fault:
            why = str(fault).split("\n")[0]
    rows = []
    for name, model in MODELS.items():
        count: int | None = None
        if config is not None and shapes:
            section = config.train
            options, _ = started(name, getattr(section, name), section.preset, section.live)
            try:
                weights = without_data(name, options, shapes).parameters()
                count = sum(p.numel() for p in weights if p.requires_grad)
            except SedimentalError:
                count = None
        rows.append(CatalogueRow(name, model, count))
    return Catalogue(tuple(rows), why)
