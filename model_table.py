"""The fusion models that there are: name in pipeline.toml -> file and class, in this one place.

`config` takes their names from here, `train.models` their files. An installed package adds models
by entry points of the group ``sedimental.models``.
"""

from .registries import of_packages

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
_FOUND = of_packages(GROUP, tuple(MODELS), "model", "_")
ADDED, FAULTS = _FOUND.places, _FOUND.faults
MODELS.update(ADDED)
