"""The lines of a pipeline.toml that name imported features."""

import os
from pathlib import Path

from ..manifest import Manifest
from .receive import LAYER, Received

WIDEST_SIMS = 1.0
"""Labels of CH-SIMS are at most this large; those of CMU-MOSI and CMU-MOSEI reach 3."""


def lines(received: Received, pipeline: Path) -> str:
    """What to paste into the `pipeline` file: corpus, cache, features and inputs."""
    base = pipeline.resolve().parent
    corpus, root = _relative(received.folder, base), _relative(received.folder.parent, base)
    tables = "".join(
        f'[[features]]\nmodality = "{one.modality}"\nencoder = "{one.encoder}"\n'
        'weights = "imported"\n\n'
        for one in received.arrivals
    )
    inputs = "".join(
        f'{one.modality} = {{ encoder = "{one.encoder}", layers = {LAYER} }}\n'
        for one in received.arrivals
    )
    return (
        f'[corpus]\nkind = "imported"\npath = "{corpus}"\n\n[cache]\nroot = "{root}"\n\n'
        f"{tables}[train.inputs]\n{inputs}"
    )


def whole(received: Received, pipeline: Path) -> str:
    """A pipeline.toml to start from: the `lines`, what to train, and how to score it."""
    head = (
        f"# {received.title} of {received.source.name}, sha256 {received.digest}\n"
        "# `sedimental train`, then `sedimental report`.\n\n"
    )
    named = ", ".join(f'"{model}"' for model in models(received))
    train = f"[train]\nmodels = [{named}]\nseeds = [1111, 1112, 1113, 1114, 1115]\n\n"
    scores = f'\n[evaluate]\nprotocol = "{protocol(received.manifest)}"\n'
    return (
        head
        + lines(received, pipeline).replace("[train.inputs]", f"{train}[train.inputs]")
        + (scores)
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


def _relative(path: Path, base: Path) -> str:
    return os.path.relpath(path.resolve(), base)
