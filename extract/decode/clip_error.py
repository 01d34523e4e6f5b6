"""What one clip fails with; the run goes on."""


class ClipError(Exception):
    """Why one clip has no features of one modality: the stage it failed in, and the reason."""

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(reason)
        self.stage, self.reason = stage, reason
