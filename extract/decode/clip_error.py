"""What one clip fails with; the run goes on."""


class ClipError(Exception):
    """Why one clip has no features of one modality: the stage it failed in, and the reason."""

    def __init__(self, stage: str, reason: str, unforeseen: bool = False) -> None:
        super().__init__(reason)
        self.stage, self.reason = stage, reason
        self.unforeseen = unforeseen
        """Whether it was raised by what the clip was handed to, and not found out by a check."""


class MediaError(Exception):
    """Why a clip gives no sound or no picture, in the words of failures.csv."""


def clip_error(stage: str, fault: Exception) -> ClipError:
    """Whatever was raised while one clip was at `stage`, as the reason why that clip fails.

    >>> clip_error("decode", KeyError("x")).reason, clip_error("encode", MemoryError()).reason
    ("KeyError: 'x'", 'not enough memory for this clip')
    """
    if isinstance(fault, ClipError):
        return fault
    if isinstance(fault, MediaError):
        return ClipError(stage, str(fault))
    if isinstance(fault, MemoryError):
        return ClipError(stage, "not enough memory for this clip", unforeseen=True)
    words = " ".join(str(fault).split())
    kind = type(fault).__name__
    return ClipError(stage, f"{kind}: {words}" if words else kind, unforeseen=True)
