"""What an import or an export has to show: tables and plain values, printed by cli.py."""

from typing import Any

from rich.table import Table

from ..failures import Failure, failure_lines
from ..summary import size_text
from .export_features import ExportResult
from .import_features import Received


def received_table(received: Received) -> Table:
    """A row a store of an import."""
    title = f"{received.title} of {received.source} into {received.folder}"
    table = Table(title=title, title_justify="left")
    table.add_column("store")
    for name in ("width", "clips", "new", "without", "frames", "masked", "size"):
        table.add_column(name, justify="right")
    for one in received.arrivals:
        counts = one.width, one.held, one.new, len(one.absent), one.frames, one.masked
        table.add_row(one.path.name, *map(str, counts), size_text(one.bytes))
    return table


def received_json(received: Received) -> dict[str, Any]:
    """What `cache import --json` prints."""
    return {
        "corpus": received.manifest.corpus,
        "folder": str(received.folder),
        "source": str(received.source),
        "kind": received.title,
        "sha256": received.digest,
        "splits": dict(received.manifest.sizes),
        "stores": [
            {**vars(one), "path": str(one.path), "absent": dict(one.absent)}
            for one in received.arrivals
        ],
        "notes": list(received.notes),
    }


def absent_lines(received: Received, most: int) -> list[str]:
    """The clips without features: of each modality the first `most`, and a count by reason."""
    found = []
    for one in received.arrivals:
        failures = [
            Failure(id_, one.modality, one.encoder, "import", why)
            for id_, why in one.absent.items()
        ]
        found += failure_lines(failures, one.reasons, most)
    return found


def sent_table(sent: ExportResult) -> Table:
    """A row a modality of an export."""
    splits = ", ".join(f"{count} {split}" for split, count in sent.clips.items())
    title = f"{sent.path} ({size_text(sent.bytes)}): {splits}"
    table = Table(title=title, title_justify="left")
    for name in ("modality", "features"):
        table.add_column(name)
    for name in ("width", "longest", "clips", "without", "unmasked frames"):
        table.add_column(name, justify="right")
    for one in sent.shipped:
        counts = one.width, one.longest, one.clips, one.lacking, one.unmasked
        table.add_row(one.modality, one.name, *map(str, counts))
    return table


def sent_json(sent: ExportResult) -> dict[str, Any]:
    """What `cache export --json` prints."""
    return {
        "path": str(sent.path),
        "kind": sent.kind,
        "clips": dict(sent.clips),
        "features": [vars(one) for one in sent.shipped],
        "bytes": sent.bytes,
        "notes": list(sent.notes),
    }
