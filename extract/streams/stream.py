"""What every stream does: decoded clips of one store go in, a part's features come out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from ...cache.manifest import Clip
from ...cache.spec import FeatureSpec
from ...cache.store.writer import ClipFeatures
from ..decode.clip_error import ClipError
from ..decode.media import Media
from ..encoders.device import ComputeDevice
from ..faces.frame_chunks import Collector
from ..stage_times import Clock
from .encoded import Chunk, encoded


class Stream(ABC):
    """The life of one store's features, from a decoded clip to `ClipFeatures`.

    `collect` and `prepare` run in a decoding thread; `load` and all others in the device's.
    """

    spec: FeatureSpec
    clock: Clock
    encoder: Any = None
    """The loaded encoder; None before `load`, and where nothing is encoded."""
    fps: float | None = None
    """Pictures a second it wants decoded; None: no pictures."""
    rate: int | None = None
    """Samples a second that it wants the sound at; None: no sound."""
    track: int | None = None
    """Which of several tracks it reads; None: the default one."""

    @property
    def reads_media(self) -> bool:
        """Whether it needs a clip's file at all."""
        return self.rate is not None or self.fps is not None

    @property
    def truncated(self) -> int:
        """Clips so far that lost words to `max_length`."""
        return 0

    def refuses(self, source: str) -> ClipError | None:
        """Why a clip of this source cannot have features, where that is known without decoding."""
        return None

    @abstractmethod
    def frames(self, clip: Clip, seconds: float) -> float:
        """About how many frames the clip will have, for planning parts."""

    @abstractmethod
    def load(self, arithmetic: ComputeDevice, clock: Clock) -> None:
        """Load the models; the stages announced to `clock` are this stream's."""

    def collect(self, source: str, put: Callable[[Any], None]) -> Collector:
        """What is given the clip's pictures; it hands on pieces for `take` by `put`."""
        raise NotImplementedError

    @abstractmethod
    def prepare(self, clip: Clip, media: Media) -> Any:
        """What `add` takes of a decoded clip; raises ClipError."""

    def take(self, clip: Clip, source: str, piece: Any) -> None:
        """Take some frames of the clip that is being decoded."""
        raise NotImplementedError

    @abstractmethod
    def add(self, clip: Clip, source: str, prepared: Any) -> None:
        """The clip is decoded; take in what was prepared of it."""

    @abstractmethod
    def drop(self, clip: Clip) -> None:
        """The clip failed; forget what was taken of it."""

    @abstractmethod
    def finish(self) -> Chunk:
        """Features and failures of all clips added since the last call, in that order."""

    @abstractmethod
    def reference(self) -> NDArray[Any]:
        """What the loaded encoder makes of its fixed input, (layers, frames, width)."""

    @abstractmethod
    def leakage(self) -> float:
        """Have `encoder` batch so that clips do not change each other's features (`measure`)."""

    @property
    def _stage(self) -> str:
        return f"encode {self.spec.modality} {self.spec.encoder}"


class WholeClipStream(Stream):
    """A stream that takes a clip in one piece, at its end, and encodes a part's clips together."""

    def __init__(self) -> None:
        self._items: list[Any] = []

    @abstractmethod
    def item(self, clip: Clip, source: str, prepared: Any) -> Any:
        """What `encode` takes of a clip."""

    def add(self, clip: Clip, source: str, prepared: Any) -> None:
        self._items.append(self.item(clip, source, prepared))

    def drop(self, clip: Clip) -> None:
        """Nothing was taken."""

    def encode(self, items: Sequence[Any]) -> list[ClipFeatures]:
        """Features of each of `items`, in order."""
        features: list[ClipFeatures] = self.encoder.encode(items)
        return features

    def finish(self) -> Chunk:
        items, self._items = self._items, []
        with self.clock.busy(self._stage):
            chunk = encoded(items, self.encode, self.spec)
        self.clock.add(self._stage, 0, chunk.frames)
        return chunk

    def _announce(self, clock: Clock, unit: str) -> None:
        self.clock = clock
        clock.stage(self._stage, unit)

    def _values(self, items: Sequence[Any]) -> list[NDArray[Any]]:
        return [features.values for features in self.encode(items)]
