"""Every file that the commands leave on disk, by where it lies."""

from collections.abc import Iterator

from sedimental.cache.checksums import FILE as CHECKSUMS
from sedimental.cache.corpus.media_index import MEDIA
from sedimental.cache.face_boxes import PREFIX as FACES
from sedimental.cache.failures import FAILURES
from sedimental.cache.manifest import MANIFEST
from sedimental.cache.runs.folder import WEIGHTS
from sedimental.cache.runs.representations import FILE as REPRESENTATIONS
from sedimental.cache.store.sealed_json import COMPLETE, STORE
from sedimental.cache.sweeps import FILE as SWEEP
from sedimental.evaluate.analysis.cross_corpus import PATTERN as CROSS
from sedimental.evaluate.analysis.missing_rates import FILE as ROBUSTNESS
from sedimental.progress import LOG_FOLDER as LOGS

CORPUS = "<cache.root>/<corpus>"
STORE_FOLDER = f"{CORPUS}/<modality>-<encoder>-<8 digits>"
EXPERIMENT = "<runs.root>/<runs.name, or the corpus>"
RUN = f"{EXPERIMENT}/<model>-<modalities>-<8 digits>/seed-<seed>"


def files() -> Iterator[tuple[str, str]]:
    """(path, what it is)."""
    yield f"{CORPUS}/{MANIFEST}", "the corpus table as it was extracted: a clip a line, checksum"
    yield f"{CORPUS}/{MEDIA}", "what every media file was: size, times and digest"
    yield (
        f"{CORPUS}/boxes-<8 digits>/{FACES}*.npz",
        "faces that were found, for any encoder of faces",
    )
    yield f"{CORPUS}/{FAILURES}", "clips without features, and why; failures.json is what is read"
    yield f"{CORPUS}/{LOGS}/extract-*.log", "what the command told; an extraction of 10 s and more"
    yield f"{STORE_FOLDER}/{STORE}", "the encoder, its weights and its settings"
    yield f"{STORE_FOLDER}/{COMPLETE}", "which parts the finished store has, and which clips failed"
    yield f"{STORE_FOLDER}/<part>", "features: Zarr v3 groups or HDF5 files, each with checksums"
    yield f"{RUN}/run.json", "settings, inputs, scores, machine"
    yield f"{RUN}/{WEIGHTS}", "the model at its best epoch"
    yield f"{RUN}/predictions.csv", "label and prediction of every clip"
    yield f"{RUN}/history.csv", "losses and scores, an epoch a line"
    yield f"{RUN}/outputs.npz", "gates, layer weights and the like, a row a clip"
    yield f"{RUN}/{REPRESENTATIONS}", "a vector a clip, for the report's maps"
    yield f"{RUN}/{ROBUSTNESS}", "predictions with features missing"
    yield f"{RUN}/{CROSS}", "answers for the test clips of another corpus"
    yield f"{RUN}/{CHECKSUMS}", "of all files of the run"
    yield f"{EXPERIMENT}/{LOGS}/<command>-*.log", "what train, sweep and robustness told"
    yield (
        f"{EXPERIMENT}/sweep/{SWEEP}",
        "scores of every choice of layers; figures beside",
    )
    yield f"{EXPERIMENT}/report.html", "the report; .json, .csv, .md and .tex hold its tables"
