"""The lines of a pipeline.toml that name imported features."""

import os
from dataclasses import dataclass
from pathlib import Path

from ..corpus.label_scale import fills
from ..corpus.published_sizes import title_of
from ..manifest import Manifest
from .import_features import LAYER, Received

WIDEST_SIMS, WIDEST_MOSI = 1.0, 3.0
"""Labels of CH-SIMS are at most this large, and those of CMU-MOSI and CMU-MOSEI."""
PUBLISHED = ("mosi", "mosei", "sims")
"""Corpora for which papers of models state settings that differ from a model's defaults."""


def lines(received: Received, pipeline: Path) -> str:
    """What to paste into the `pipeline` file: corpus, cache, features and inputs."""
    return f"{_features(received, pipeline)}\n{_inputs(received)}"


def whole(received: Received, pipeline: Path) -> str:
    """A pipeline.toml to start from: the `lines`, what to train, and how to score it."""
    corpus, found = received.manifest.corpus, models(received)
    named = ", ".join(f'"{model}"' for model in found)
    found_scale = scale(received.manifest)
    guessed = "  # a guess: see the note of the import" if found_scale.notes else ""
    preset = f'preset = "{corpus}"\n' if corpus in PUBLISHED and len(found) > 1 else ""
    return (
        f"# {received.title} of {received.source.name}, sha256 {received.digest}\n"
        "# `sedimental train`, then `sedimental report`.\n\n"
        f"{_features(received, pipeline)}\n"
        f"[train]\nmodels = [{named}]\nseeds = [1111, 1112, 1113, 1114, 1115]\n{preset}\n"
        f"{_inputs(received)}\n"
        f'[evaluate]\nprotocol = "{found_scale.protocol}"{guessed}\n'
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


@dataclass(frozen=True)
class Scale:
    """Whose metrics fit the labels, and what of that is a guess."""

    protocol: str
    notes: tuple[str, ...] = ()


def scale(manifest: Manifest) -> Scale:
    """The scale of a corpus's labels: by its name, else by the labels, and then it is said."""
    title = title_of(manifest.corpus) or ""
    labels = [clip.label for clip in manifest.clips if clip.label is not None]
    low, high = min(labels, default=0.0), max(labels, default=0.0)
    if title.startswith("CH-SIMS") and max(-low, high) <= WIDEST_SIMS:
        return Scale("sims")
    if not labels or (title in ("CMU-MOSI", "CMU-MOSEI") and max(-low, high) <= WIDEST_MOSI):
        return Scale("mosi")
    said = f"labels lie between {low:g} and {high:g}"
    if low < -WIDEST_MOSI or high > WIDEST_MOSI:
        note = (
            f"{said}: the scale of no published protocol. The pipeline takes these for its ends, "
            "and five equal parts for its classes; if it is wider, or has other classes, say so in "
            '[evaluate] protocol = "LOW..HIGH at EDGE, EDGE".'
        )
        return Scale(f"{low:g}..{high:g}", (note,))
    if low < -WIDEST_SIMS or high > WIDEST_SIMS:
        return Scale("mosi")
    if fills(low, high, -WIDEST_SIMS, WIDEST_SIMS):
        return Scale("sims")
    note = (
        f"{said}, which fills neither the scale of CH-SIMS (-1 to 1) nor that of CMU-MOSI (-3 to "
        '3): protocol "sims" is a guess. Set [evaluate] protocol to the scale that was rated on, '
        f'such as "{low:g}..{high:g}".'
    )
    return Scale("sims", (note,))


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
