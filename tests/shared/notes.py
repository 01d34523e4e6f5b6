"""A listener to long work that keeps what it is told."""

from sedimental.progress import Silent


class Notes(Silent):
    """Keeps every note, in order."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)
