"""Maps of clips: the vectors that a model's head reads, in two dimensions, coloured by label."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...cache.runs import Run
from ...cache.runs.representations import WHOLE, Representations
from ...cache.spec import MODALITIES, SPLITS
from ..protocols import CorpusProtocol
from ..results import Drawing
from .canvas import ALONE, MODALITY_COLOURS, MUTED, Canvas

MOST_POINTS = 1500
FEWEST = 12
"""Clips below which a map of them says nothing."""
FEWEST_OF_SPLIT = 8
"""Clips below which a panel of the map says nothing."""
GROUPS = ("negative", "neutral", "positive")
MARKERS = ("v", "o", "^", "s", "D", "P", "X", "*")
COLOURS = (MODALITY_COLOURS["audio"], MUTED, MODALITY_COLOURS["text"], MODALITY_COLOURS["vision"])
Points = NDArray[np.float64]
Panels = dict[str, tuple[Points, NDArray[np.int64]]]
"""Clips and their groups by the panel's name."""


def map_figures(
    run: Run, found: Representations | None, protocol: CorpusProtocol
) -> tuple[Drawing, ...]:
    """What `found` of `run` looks like, by PCA: the fused vectors split by split, then the test
    clips as each modality alone represents them. What would say nothing is left out with a reason.
    """
    if protocol.of_several or found is None or WHOLE not in found.vectors:
        return ()
    title = "Representations, PCA"
    if len(found.rows) < FEWEST:
        return (_left_out("map-pca", title, f"a map of {len(found.rows)} clips says nothing"),)
    if (apart := distinct(found.vectors[WHOLE].astype(np.float64))) < FEWEST:
        some = f"{apart} different vector{'s' if apart > 1 else ''}"
        why = f"of {len(found.rows)} clips the head reads {some}"
        return (_left_out("map-pca", title, why),)
    step = -(-len(found.rows) // MOST_POINTS)
    rows = found.rows[::step]
    vectors = {n: v[::step].astype(np.float64) for n, v in found.vectors.items()}
    groups, names = grouped_labels(run.predictions.labels[rows], protocol)
    splits = np.array(run.predictions.splits)[rows]
    several = len(set(splits.tolist())) > 1
    of, drawn = f"{run.row}, seed {run.seed}", list[Drawing]()
    counts = {split: int((splits == split).sum()) for split in SPLITS}
    kept = [split for split, count in counts.items() if count >= FEWEST_OF_SPLIT]
    bare = [f"{split} ({count})" for split, count in counts.items() if 0 < count < FEWEST_OF_SPLIT]

    def panels(points: Points) -> Panels:
        return {split: (points[splits == split], groups[splits == split]) for split in kept}

    flat, shares = pca(vectors[WHOLE])
    words = (
        f"{of}: what the head reads of each clip. The two directions hold "
        f"{100 * shares[:2].sum():.0f} % of the variance"
        f"{', and are the same in all panels' if several else ''}. "
        "Classes that part in training clips alone are learned by heart."
        + (f" Too few clips for a panel: {', '.join(bare)}." if bare else "")
    )
    if kept:
        drawn.append(_map("map-pca", title, words, panels(flat), names))
    here = splits == "test"
    alone = {m: vectors[m][here] for m in MODALITIES if m in vectors}
    if len(alone) > 1 and here.sum() >= FEWEST_OF_SPLIT:
        words = f"{of}, test clips, each modality's own vector by its own PCA."
        each: Panels = {m: (pca(v)[0], groups[here]) for m, v in alone.items()}
        title = "Representations of single modalities"
        drawn.append(_map("map-alone", title, words, each, names, shared=False))
    return tuple(drawn)


def pca(x: Points) -> tuple[Points, Points]:
    """First two principal components (clips, 2), and each component's share of the variance.

    Signs are such that the largest entry of a direction is positive, so that they do not flip.
    """
    centred = x - x.mean(axis=0)
    u, s, v = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(v[np.arange(len(v)), np.abs(v).argmax(axis=1)])
    scores = (u * s * signs)[:, :2]
    if scores.shape[1] < 2:
        scores = np.column_stack([scores, np.zeros(len(x))])
    total = float((s**2).sum())
    return scores, s**2 / total if total else np.zeros_like(s)


def distinct(x: Points) -> int:
    """Different vectors among `x` (clips, width), rounding left aside."""
    largest = float(np.abs(x).max(initial=0))
    return len(np.unique(np.round(x / largest, 6), axis=0)) if largest > 0 else min(1, len(x))


def _left_out(key: str, title: str, why: str) -> Drawing:
    return Drawing(key, title, f"Left out: {why}.", "")


def grouped_labels(
    labels: Points, protocol: CorpusProtocol
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The group of each clip, and the groups' names: its class, or the sign of its score."""
    if protocol.of_classes:
        return labels.astype(np.int64), protocol.bins
    return (np.sign(labels - protocol.middle) + 1).astype(np.int64), GROUPS


def _map(
    key: str,
    title: str,
    words: str,
    panels: Panels,
    names: Sequence[str],
    shared: bool = True,
) -> Drawing:
    """A panel each of points and their groups, on `shared` axes or each on its own."""
    with Canvas(key, 400, columns=len(panels), sharex=shared, sharey=shared) as canvas:
        for axes, (panel, (points, groups)) in zip(canvas.panels, panels.items(), strict=True):
            for number, name in enumerate(names):
                axes.plot(
                    *points[groups == number].T,
                    marker=MARKERS[number % len(MARKERS)],
                    color=COLOURS[number % len(COLOURS)],
                    alpha=0.75,
                    label=name,
                    **ALONE,
                )
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(visible=False)
            axes.set_title(f"{panel} ({len(points)} clips)", fontsize=10.5)
        canvas.legend(8)
    return canvas.drawing(title, words)
