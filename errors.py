"""Faults a user can do something about: each names the thing, the place and the way out."""


class SedimentalError(Exception):
    """A fault whose message is meant for the user as it stands; the command exits with 1."""


class StoreError(SedimentalError):
    """A feature store that cannot be read or written as asked."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """No feature store lies at this path."""


class IncompleteStoreError(StoreError):
    """The store's parts do not yet cover the clips it was planned for."""


class MissingClipError(StoreError, KeyError):
    """The store holds no features of this clip."""

    def __str__(self) -> str:
        """The message as it stands: KeyError would print it quoted."""
        return str(self.args[0]) if self.args else ""


class CorruptStoreError(StoreError):
    """Bytes on disk are not the bytes that were written."""


class NewerStoreError(StoreError):
    """Written by a later version of this package, in a way this one would misread."""


class OverflowInStoreError(StoreError, OverflowError):
    """A hidden state does not fit the stored dtype, or is not finite."""


class ManifestError(SedimentalError):
    """A corpus table that cannot be used; the message lists every fault with its line."""


class RunError(SedimentalError):
    """A run folder that cannot be read or written as asked."""
