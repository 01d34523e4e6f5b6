"""Features in any form that there is, by its name."""

from collections.abc import Sequence
from pathlib import Path

from ...progress import Progress, Silent
from ..manifest import Manifest
from .added_formats import write_added
from .csd.write import write_csd
from .export_features import ExportResult, ExportSource
from .merbench.write import write_tree
from .mmsa.write import write_mmsa
from .rows_write import write_parquet, write_shards


def export(
    to: str,
    path: Path,
    manifest: Manifest,
    chosen: Sequence[ExportSource],
    progress: Progress | None = None,
) -> ExportResult:
    """Write `chosen` features of the clips of `manifest` to `path`, in the form `to`.

    Raises ExchangeError for a form that there is not, and as the form's own writer does.
    """
    match to:
        case "mmsa" | "npz":
            return write_mmsa(path, manifest, chosen, progress, to == "npz")
        case "csd":
            return write_csd(path, manifest, chosen, progress)
        case "parquet":
            return write_parquet(path, manifest, chosen, progress)
        case "webdataset":
            return write_shards(path, manifest, chosen, progress)
        case "fra" | "utt":
            return write_tree(path, manifest, chosen, to == "utt", progress)
    return write_added(to, path, manifest, chosen, progress or Silent())
