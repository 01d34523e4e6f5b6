"""What models keep inside: clips mapped to two dimensions, labels that they generate."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..cache.runs import Run
from ..cache.spec import MODALITIES
from .drawing import INK, MODALITY_COLOURS, MUTED, PAPER, Canvas, Drawing
from .protocols import CorpusProtocol

MOST_POINTS = 1500
FEWEST = 12
"""Clips below which a map of them says nothing."""
GROUPS = ("negative", "neutral", "positive")
MARKERS = ("v", "o", "^", "s", "D", "P", "X", "*")
COLOURS = (MODALITY_COLOURS["audio"], MUTED, MODALITY_COLOURS["text"], MODALITY_COLOURS["vision"])


def inner_figures(runs: Sequence[Run], protocol: CorpusProtocol) -> tuple[Drawing, ...]:
    """The figures that the outputs of the first of `runs` (seeds of one row) allow.

    ``representation`` (clips, width) gives a map by PCA and, where scikit-learn is at hand, one by
    t-SNE; ``label_quantiles_<modality>`` (epochs, 5) gives the course of generated labels.
    """
    if not runs:
        return ()
    run = runs[0]
    found = [trajectory_figure(run), *map_figures(run, protocol)]
    return tuple(figure for figure in found if figure is not None)


def map_figures(run: Run, protocol: CorpusProtocol) -> tuple[Drawing, ...]:
    """Test clips by what the model makes of them, coloured by label."""
    points = run.outputs.get("representation")
    kept = np.array([split == "test" for split in run.predictions.splits], dtype=bool)
    if points is None or points.ndim != 2 or len(points) != len(kept) or kept.sum() < FEWEST:
        return ()
    known = kept & np.isfinite(points).all(axis=1)
    step = -(-int(known.sum()) // MOST_POINTS)
    x, labels = points[known][::step], run.predictions.labels[known][::step]
    groups, names = grouped_labels(labels, protocol)
    flat, shares = pca(x)
    title = f"{run.row}, seed {run.seed}, test clips"
    words = f"{title}. The two directions hold {100 * shares[:2].sum():.0f} % of the variance."
    drawn = [_map("map-pca", "Representations, PCA", words, flat, groups, names)]
    near = tsne(x)
    if near is not None:
        words = f"{title}. Near clips are alike; distances between far groups mean little."
        drawn.append(_map("map-tsne", "Representations, t-SNE", words, near, groups, names))
    return tuple(drawn)


def pca(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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


def tsne(x: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """t-SNE in two dimensions, (clips, 2); None without scikit-learn."""
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        return None
    near = min(30.0, (len(x) - 1) / 3)
    return np.asarray(TSNE(perplexity=near, init="pca", random_state=0).fit_transform(x))


def grouped_labels(
    labels: NDArray[np.float64], protocol: CorpusProtocol
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The group of each clip, and the groups' names: its class, or the sign of its score."""
    if protocol.of_classes:
        return labels.astype(np.int64), protocol.bins
    return (np.sign(labels) + 1).astype(np.int64), GROUPS


def _map(
    key: str,
    title: str,
    words: str,
    points: NDArray[np.float64],
    groups: NDArray[np.int64],
    names: Sequence[str],
) -> Drawing:
    with Canvas(key, 400) as canvas:
        axes = canvas.panels[0]
        for number, name in enumerate(names):
            own = points[groups == number]
            axes.plot(
                own[:, 0],
                own[:, 1],
                ls="none",
                marker=MARKERS[number % len(MARKERS)],
                ms=5,
                color=COLOURS[number % len(COLOURS)],
                mec=PAPER,
                mew=0.4,
                alpha=0.75,
                label=f"{name} ({len(own)})",
            )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        canvas.figure.legend(loc="outside upper left", ncols=4)
    return Drawing(key, title, words, canvas.svg)


def trajectory_figure(run: Run) -> Drawing | None:
    """How the labels that a model generates for each modality spread out (SUGRM, Fig. 4)."""
    trails = {
        m: rows
        for m in MODALITIES
        if (rows := run.outputs.get(f"label_quantiles_{m}")) is not None
        and rows.ndim == 2
        and rows.shape[1] == 5
        and len(rows) > 1
    }
    if not trails:
        return None
    with Canvas("trajectory", 70 + 110 * len(trails), len(trails), sharex=True) as canvas:
        for axes, (modality, rows) in zip(canvas.panels, trails.items(), strict=True):
            epochs, colour = np.arange(1, len(rows) + 1), MODALITY_COLOURS[modality]
            axes.fill_between(epochs, rows[:, 0], rows[:, 4], color=colour, alpha=0.12, lw=0)
            axes.fill_between(epochs, rows[:, 1], rows[:, 3], color=colour, alpha=0.28, lw=0)
            axes.plot(epochs, rows[:, 2], color=colour)
            axes.set_title(modality, fontsize=10.5)
            axes.xaxis.get_major_locator().set_params(integer=True)
        canvas.panels[-1].set_xlabel("epoch")
        canvas.figure.supylabel("generated label", fontsize=11, color=INK)
    return Drawing(
        canvas.key,
        "Labels that the model generates",
        f"{run.row}, seed {run.seed}: labels of each modality over the training "
        "clips. Line: median; dark: the middle half; light: from the lowest to the highest kept.",
        canvas.svg,
    )
