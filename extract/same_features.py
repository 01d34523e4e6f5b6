"""Whether the features that a run was trained on can be made of other clips, today and here."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter

from ..cache.runs.extraction import Extraction
from ..cache.spec import Modality
from ..config import AnyFeatures
from ..errors import SedimentalError
from .encoders.loading import EncoderError
from .streams.streams import stream_of

TABLE: TypeAdapter[AnyFeatures] = TypeAdapter(AnyFeatures)


def refuse_others(row: str, extraction: Mapping[Modality, Extraction]) -> None:
    """Raise EncoderError if an encoder is not the one, or not used as, that `row` was trained with.

    Its fault has a line an input: what differs, and what to do. Nothing but configurations,
    tokenizers and digests is read.
    """
    faults = [fault for m, extracted in extraction.items() if (fault := _fault(m, extracted))]
    if faults:
        raise EncoderError(
            "\n".join(f"{row} cannot read new clips as it was trained: {f}" for f in faults)
        )


def _fault(modality: Modality, extraction: Extraction) -> str:
    """Why the `extraction` cannot be repeated; empty if it can."""
    spec = extraction.spec
    if extraction.table.get("weights") == "imported":
        return (
            f"the {modality} features {spec.encoder} were imported ({spec.source}), and nothing "
            "here can make them of another clip. Train on features that `sedimental extract` made."
        )
    folder = extraction.table.get("weights") or extraction.table["encoder"]
    if spec.weights == "folder" and not Path(folder).is_dir():
        here = "" if Path(folder).is_absolute() else f" (looked for from {Path.cwd()})"
        return (
            f"the encoder of {modality}, the folder {folder}, is gone{here}. "
            "Put it back there, or train again with another."
        )
    try:
        now = stream_of(TABLE.validate_python(extraction.pinned), spec.dtype).spec
    except SedimentalError as fault:
        return f"{modality}: {fault}"
    if differs := extraction.differences(now):
        return (
            f"{modality} {spec.encoder} would give other numbers ({'; '.join(differs)}). Bring "
            "back what it was, or extract and train again."
        )
    return ""
