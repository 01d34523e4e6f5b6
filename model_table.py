"""The fusion models that there are: name in pipeline.toml -> file and class, in this one place.

`config` takes their names from here, `train.models` their files. An installed package adds models
by entry points of the group ``sedimental.models``.
"""

import re
from collections.abc import Mapping
from importlib.metadata import entry_points

MODELS: dict[str, str] = {
    "uegd": "uegd:UEGD",
    "emt_dlfr": "emt_dlfr.model:EMTDLFR",
    "glomo": "glomo:GLoMo",
    "sugrm": "sugrm.model:SUGRM",
    "mmml": "mmml:MMML",
    "ef_lstm": "ef_lstm:EFLSTM",
    "lf_dnn": "lf_dnn:LFDNN",
    "tfn": "tfn:TFN",
    "lmf": "lmf:LMF",
    "mult": "mult:MulT",
    "misa": "misa:MISA",
    "self_mm": "self_mm:SelfMM",
    "mmim": "mmim:MMIM",
    "tfr_net": "tfr_net:TFRNet",
    "mag_bert": "mag_bert:MAGBert",
    "mlf_dnn": "mlf_dnn:MLFDNN",
    "mtfn": "mtfn:MTFN",
    "mlmf": "mlmf:MLMF",
    "mfn": "mfn:MFN",
    "graph_mfn": "graph_mfn:GraphMFN",
    "mfm": "mfm:MFM",
    "mctn": "mctn:MCTN",
    "tetfn": "tetfn:TETFN",
    "cenet": "cenet:CENet",
    "almt": "almt:ALMT",
    "lnln": "lnln:LNLN",
}
"""Name -> module below `train/models/` and class in it.

Beside the class lie its `Options` and, where a paper gives them, `PRESETS` (options by corpus),
`RECIPE` and `RECIPES` (how it is trained; by corpus), and `ENCODER` and `ENCODERS` (the same of
encoders that are trained along).
"""
GROUP = "sedimental.models"
NAME = re.compile(r"[a-z][a-z0-9_]*")
"""What a model may be called."""


def of_packages(ours: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Models that installed packages add, name -> module and class, and what is wrong, a line each.

    Names of `ours` stay ours.
    """
    added, faults = dict[str, str](), list[str]()
    for point in sorted(entry_points(group=GROUP)):
        package = point.dist.name if point.dist is not None else "a package"
        where = f'{GROUP}: "{point.name}" of {package}'
        if not NAME.fullmatch(point.name):
            faults.append(f"{where}: a model's name is small letters, digits and underscores.")
        elif point.name in ours or added.get(point.name, point.value) != point.value:
            faults.append(f"{where}: there is a model of that name already.")
        elif not (point.module and point.attr):
            faults.append(f'{where}: should be "module:Class", and is "{point.value}".')
        else:
            added[point.name] = point.value
    return added, tuple(faults)


ADDED, FAULTS = of_packages(MODELS)
MODELS.update(ADDED)
