"""The course of a long video: scores, and how modalities count, along its time."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..prediction import ClipPrediction, Prediction
from ..results import Drawing
from .canvas import INK, MODALITY_COLOURS, MODELS, MUTED, Canvas
from .row_style import DASHES


def timelines(found: Prediction) -> tuple[Drawing, ...]:
    """A figure a video of which `found` has several windows."""
    videos: dict[str, list[ClipPrediction]] = {}
    for clip in found.clips:
        if clip.media is not None and clip.start is not None:
            videos.setdefault(clip.media, []).append(clip)
    return tuple(
        timeline(found, clips, f"timeline-{number}")
        for number, clips in enumerate(videos.values(), start=1)
        if len(clips) > 1
    )


def timeline(found: Prediction, clips: Sequence[ClipPrediction], key: str = "timeline") -> Drawing:
    """Scores (or probabilities) over the middles of `clips`, windows of one video; under them the
    weights of modalities, of a model that gives any."""
    weighed = [m for m in found.modalities if any(m in clip.weights for clip in clips)]
    order = sorted(clips, key=lambda clip: clip.start or 0.0)
    at = np.array([((c.start or 0.0) + (c.end or c.start or 0.0)) / 2 for c in order])
    count = 2 if weighed else 1
    with Canvas(key, 230 * count + 60, count, sharex=True) as canvas:
        axes = canvas.panels[0]
        if found.classes:
            _probabilities(axes, at, order, found.classes)
        else:
            _scores(axes, at, order, found)
        if weighed:
            for m in weighed:
                values = [clip.weights.get(m, np.nan) for clip in order]
                canvas.panels[1].plot(at, values, color=MODALITY_COLOURS[m], label=m, **_DOTS)
            canvas.panels[1].set_ylabel("weight")
            canvas.panels[1].set_ylim(bottom=0)
        canvas.panels[-1].set_xlabel("minute:second")
        canvas.panels[-1].xaxis.get_major_locator().set_params(integer=True)
        canvas.panels[-1].xaxis.set_major_formatter(
            lambda value, _: f"{int(value) // 60}:{int(value) % 60:02d}" if value >= 0 else ""
        )
        canvas.legend(4)
    gaps = sum(not clip.used for clip in order)
    missing = f" {gaps} windows could not be predicted, and are gaps." if gaps else ""
    seeds = " Band: spread over seeds." if len(found.seeds) > 1 and not found.classes else ""
    name = re.sub(r".*[/\\]", "", order[0].media or "")
    return canvas.drawing(
        f"Along {name}",
        f"{found.row}, {len(order)} windows, each at its middle.{seeds}{missing}",
    )


_DOTS: Any = {"marker": "o", "ms": 3.5, "lw": 1.4}


def _scores(axes: Any, at: Any, clips: Sequence[ClipPrediction], found: Prediction) -> None:
    means = np.array([c.score.mean if c.score else np.nan for c in clips])
    spread = np.array([c.score.std if c.score else np.nan for c in clips])
    axes.axhline(0, color=MUTED, lw=1, ls=(0, (4, 3)))
    axes.fill_between(at, means - spread, means + spread, color=MODELS[0], alpha=0.15, lw=0)
    for m in found.modalities:
        if any(m in clip.alone for clip in clips):
            values = [clip.alone.get(m, np.nan) for clip in clips]
            axes.plot(at, values, color=MODALITY_COLOURS[m], ls=(0, (4, 2)), label=f"{m} alone")
    axes.plot(at, means, color=MODELS[0], label="score", **_DOTS)
    axes.set_ylabel("score")


def _probabilities(
    axes: Any, at: Any, clips: Sequence[ClipPrediction], classes: Sequence[str]
) -> None:
    for number, name in enumerate(classes):
        found = [clip.probabilities.get(name) for clip in clips]
        values = [np.nan if one is None else one.mean for one in found]
        dash = DASHES[number % len(DASHES)]
        colour = (INK, *MODELS)[number % (len(MODELS) + 1)]
        axes.plot(at, values, color=colour, ls=(0, dash) if dash else "-", label=name)
    axes.set_ylabel("probability")
    axes.set_ylim(0, 1)
