"""The lines of a pipeline.toml that name imported features."""

import os
from pathlib import Path

from ..manifest import Manifest
from .import_features import LAYER, Received

WIDEST_SIMS = 1.0
"""Labels of CH-SIMS are at most this large; those of CMU-MOSI and CMU-MOSEI reach 3."""
PUBLISHED = ("mosi", "mosei", "sims")
"""Corpora for which papers of models state settings that differ from a model's defaults."""


def lines(received: Received, pipeline: Path) -> str:
    """What to paste into the `pipeline` file: corpus, cache, features and inputs."""
    return f"{_features(received, pipeline)}\n{_inputs(received)}"


def whole(received: Received, pipeline: Path) -> str:
    """A pipeline.toml to start from: the `lines`, what to train, and how to score it."""
    corpus, found = received.manifest.corpus, models(received)
    named = ", ".join(f'"{model}"' for model in found)
    preset = f'preset = "{corpus}"\n' if corpus in PUBLISHED and len(found) > 1 else ""
    return (
        f"# {received.title} of {received.source.name}, sha256 {received.digest}\n"
        "# `sedimental train`, then `sedimental report`.\n\n"
        f"{_features(received, pipeline)}\n"
        f"[train]\nmodels = [{named}]\nseeds = [1111, 1112, 1113, 1114, 1115]\n{preset}\n"
        f"{_inputs(received)}\n"
        f'[evaluate]\nprotocol = "{protocol(received.manifest)}"\n'
    )


def models(received: Received) -> tuple[str, ...]:
    """Models that these features can train without a further setting."""
    widths = {one.modality: one.width for one in received.arrivals}
    found = ["uegd"]
    if len(widths) == 3:
        found += ["emt_dlfr", "glomo", "sugrm"]
    if "text" in widths and widths["text"] == widths.get("audio"):
        found.append("mmml")  # of other widths it must be told to which it projects them
    return tuple(found)


def protocol(manifest: Manifest) -> str:
    """Whose metrics fit the labels: `sims` where none is beyond one, else `mosi`."""
    labels = [abs(clip.label) for clip in manifest.clips if clip.label is not None]
    return "sims" if labels and max(labels) <= WIDEST_SIMS else "mosi"


def _features(received: Received, pipeline: Path) -> str:
    base = pipeline.resolve().parent
    corpus, root = (
        os.path.relpath(path.resolve(), base) for path in (received.folder, received.folder.parent)
    )
    tables = (
        f'[[features]]\nmodality = "{one.modality}"\nencoder = "{one.encoder}"\n'
        'weights = "imported"\n'
        for one in received.arrivals
    )
    head = f'[corpus]\nkind = "imported"\npath = "{corpus}"\n\n[cache]\nroot = "{root}"\n'
    return "\n".join((head, *tables))


def _inputs(received: Received) -> str:
    return "[train.inputs]\n" + "".join(
        f'{one.modality} = {{ encoder = "{one.encoder}", layers = {LAYER} }}\n'
        for one in received.arrivals
    )
