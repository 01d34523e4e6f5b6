"""One clip without a label. Light, as `import sedimental` loads it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class NewClip:
    """One unlabelled clip that a trained run predicts."""

    media: str | Path | None = None
    """Its file; None is enough for a run that reads text alone."""
    text: str | None = None
    """What is said in it. Empty: nothing, the model does without; None will not do."""
    start: float | None = None
    """Seconds into the file; None: from its beginning."""
    end: float | None = None
    id: str | None = None
    """Its name among the results; None: that of its file."""
    video: str | None = None
    """Which video it is of, for models and encoders that read the clips before; None: its own."""
    clip: str | None = None
    """Its name within the video, in whose order they are if these are numbers; else as given."""
    words: Sequence[tuple[str, float | None, float | None]] = ()
    """When each word was said, (word, start, end) in seconds from the clip's beginning, for a run
    that is aligned with words."""
