"""Report values as plain JSON values: dicts, lists, strings, finite numbers and None."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from .analysis.analysis import Analyses
from .metrics import Scores
from .statistics import Spread


def plain(value: Any) -> Any:
    """`value` for `json.dump`; NaN and infinities become None, arrays lists, dataclasses dicts."""
    if isinstance(value, Spread):
        own = {"mean": value.mean, "std": value.std, "low": value.low, "high": value.high}
        return plain({**own, "seeds": value.values})
    if isinstance(value, Analyses):
        return _analyses(value)
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _analyses(analyses: Analyses) -> dict[str, Any]:
    """Without what lies in the run folders clip by clip and epoch by epoch."""
    gates = [
        {
            "row": found.row,
            "output": found.output,
            "weights": {m: _summary(values) for m, values in found.weights.items()},
        }
        for found in analyses.gates
    ]
    fits = [
        {"name": fit.name, "calibration": fit.calibration, "confusion": fit.confusion}
        for fit in analyses.fits
    ]
    kept = ("name", "layers", "variances", "video", "worst")
    own = {key: getattr(analyses, key) for key in kept}
    return plain({**own, "fits": fits, "gates": gates})  # type: ignore[no-any-return]


def _summary(values: Scores) -> dict[str, Any]:
    quartiles = np.quantile(values, [0.25, 0.5, 0.75])
    return {"mean": float(values.mean()), "std": float(values.std()), "quartiles": quartiles}
