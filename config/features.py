"""[cache], [[features]], [words], [extract]: what is kept of which encoder, and how it is made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .base import FOLDER, Count, Fraction, LayerList, Number, Place, Positive, Section, Word
from .wording import DEVICE

OfClips = Literal["none", "mean", "mean+std", "mean+std+max"]
Collapse = Literal["mean", "weighted", "max", "min", "sum", "first", "last"]
"""How the frames over one word become one row; `weighted` is the mean by seconds of overlap."""
HAND_MADE = ("log-mel", "egemaps")
"""Encoders that learn nothing: filters, and descriptors that experts chose."""
ENCODING = {"encoder", "weights", "revision", "layers", "name", "pool"}
"""Keys that decide nothing about crops."""


class CacheConfig(Section):
    """[cache]: where features lie and how they are packed."""

    root: Place = Path("features")
    """Folder of all stores, relative to pipeline.toml."""
    format: Literal["zarr", "hdf5"] = "zarr"
    """What one part of a store is: a Zarr v3 group or an HDF5 file."""
    dtype: Literal["float16", "float32"] = "float16"
    """Stored number type; a value that does not fit is an error, never an infinity."""
    part_mb: Positive = 150
    """Size of one part in megabytes (10^6 bytes), the unit of writing, checking and resuming."""
    part_clips: Positive = 128
    """Most clips in one part, so that little is lost when small features are interrupted."""
    part_seconds: Annotated[Number, Field(gt=0)] = 60
    """A part is also closed with the first clip after so many seconds: a kill costs no more."""


class Features(Section):
    """What every [[features]] table has."""

    encoder: Word
    """A preset (`sedimental extract --encoders`), a Hub id, or a `save_pretrained` folder."""
    weights: str | None = Field(default=None, pattern=r"^(hub|imported|random:\d+|.*/.*|\.)$")
    """`hub`, a folder with a slash in its name, or `random:<seed>`; unset: what the preset says.
    `imported`: nothing is extracted, `sedimental cache import` has brought features of this name,
    and the other keys of the table mean nothing."""
    revision: str | None = None
    """Commit, tag or branch on the Hub; the commit it resolves to is recorded."""
    layers: LayerList = "all"
    """Which layers to keep: 0 is the embedding, n the output of block n, -1 the last block."""
    name: str | None = Field(default=None, pattern=FOLDER)
    """What the store is called; unset: the preset, the end of the Hub id, or, of a folder that is
    no copy of the preset, what its config.json or the folder says."""

    @property
    def imported(self) -> bool:
        """Whether the features were made elsewhere, so that there is nothing to extract."""
        return self.weights == "imported"


class VisionFeatures(Features):
    """[[features]] with modality = "vision": faces, a frame at a time."""

    modality: Literal["vision"]
    """Faces."""
    pool: OfClips = "none"
    """All faces of a clip as one frame: their mean, beside it deviation and maximum."""
    fps: Annotated[Number, Field(gt=0)] = 3.0
    """Frames a second, picked by time stamp."""
    face_size: Positive = 256
    """Side of the square face crop in pixels."""
    margin: Count = 0
    """Pixels kept around the detected box, at the size of the crop."""
    no_face: Literal["zero", "hold", "full-frame"] = "zero"
    """A frame without a face: zero features, the face before it again, or the whole frame."""
    detect_size: Positive = 640
    """Frames whose longer side exceeds this many pixels are shrunk to it for the detector."""
    min_probability: Fraction = 0.9
    """What the detector is less sure of is no face."""
    max_speed: Annotated[Number, Field(gt=0)] = 2.0
    """How far the face that is followed may move, in widths of it a second; what is farther away is
    somebody else."""
    min_brightness: Annotated[Number, Field(ge=0, lt=255)] = 16.0
    """Mean grey level, of 255, that a face has at least: in the dark there is nothing to see."""
    track: Count | None = None
    """Which of a file's video tracks, from 0; unset: the default one, of those that decode."""

    @property
    def cropping(self) -> str:
        """All that decides which crops an encoder is given, as one text."""
        return self.model_dump_json(exclude=ENCODING)


class AudioFeatures(Features):
    """[[features]] with modality = "audio": the waveform."""

    modality: Literal["audio"]
    """Sound."""
    rate: Annotated[Number, Field(gt=0, le=50)] = 5.0
    """Kept frames a second; 5 keeps every tenth 20 ms frame."""
    pool: Literal["stride", "mean", "mean+std", "mean+std+max"] = "stride"
    """Keep one frame of each hop, or the mean of its frames, beside it their deviation, and their
    maximum. Of hand-made features the rate is 1 and this is "mean+std", where the table is silent:
    one frame of them says little, and what tells voices apart is how they vary."""
    track: Count | None = None
    """Which of a file's audio tracks, from 0; unset: the default one, of those that decode."""

    @model_validator(mode="before")
    @classmethod
    def _hand_made(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("encoder") in HAND_MADE:
            return {"rate": 1.0, "pool": "mean+std", **value}
        return value


class TextFeatures(Features):
    """[[features]] with modality = "text": the transcript."""

    modality: Literal["text"]
    """Words."""
    pool: OfClips = "none"
    """All tokens of a clip as one frame: their mean, beside it deviation and maximum."""
    max_length: Positive = 512
    """Tokens kept, special tokens counted."""
    context: Count = 0
    """Utterances of the same video and split read before the clip's own words, in one pass."""
    case: Literal["kept", "lower"] = "kept"
    """`lower`: all letters but the first become small, as MMML reads its transcripts."""


AnyFeatures = Annotated[
    VisionFeatures | AudioFeatures | TextFeatures, Field(discriminator="modality")
]


class WordsConfig(Section):
    """[words]: when each word was said, for inputs with align = "words".

    A clip's times come from the first of these that has any: the table's column word_times, the
    files below `path`, the `aligner`.
    """

    path: Place | None = None
    """Folder of .ctm, .TextGrid, .vtt or .csd files, relative to pipeline.toml."""
    aligner: Word | None = None
    """CTC encoder (a Hub id or a `save_pretrained` folder) that lays transcripts over the sound."""
    revision: str | None = None
    """The aligner's commit, tag or branch on the Hub."""


class ExtractConfig(Section):
    """[extract]: how stage 1 uses the machine; nothing here changes a number beyond rounding."""

    device: str = Field(default="auto", pattern=DEVICE)
    """`auto` takes the first GPU, else the CPU."""
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    """Arithmetic of the encoders; `auto` is fp16 on a GPU and fp32 on a CPU."""
    workers: Count = 0
    """Decoding threads; 0 = one a core."""
