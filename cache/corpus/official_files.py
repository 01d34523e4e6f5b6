"""Feature files that the field shares, known by their SHA-256."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

OFFICIAL: Mapping[str, str] = {
    "78e0f8b5": "MOSI/Processed/unaligned_50.pkl: CMU-MOSI, not aligned; 1284 / 229 / 686 clips; "
    "text 768 wide, audio 5, vision 20",
    "d3994fd2": "MOSI/Processed/aligned_50.pkl: CMU-MOSI, aligned to 50 words; 1284 / 229 / 686 "
    "clips; text 768 wide, audio 5, vision 20",
    "ad8b23d5": "MOSEI/Processed/unaligned_50.pkl: CMU-MOSEI, not aligned; 16326 / 1871 / 4659 "
    "clips; text 768 wide, audio 74, vision 35",
    "45eccfb7": "MOSEI/Processed/aligned_50.pkl: CMU-MOSEI, aligned to 50 words; 16326 / 1871 / "
    "4659 clips; text 768 wide, audio 74, vision 35",
    "c9e20c13": "SIMS/Processed/unaligned_39.pkl: CH-SIMS, not aligned; 1368 / 456 / 457 clips; "
    "text 768 wide, audio 33, vision 709",
}
"""How the SHA-256 that MMSA states for its own files begin -> what they are."""


def official(digest: str) -> str | None:
    """What the file of this SHA-256 is; None of a file that is not known.

    >>> official("78e0f8b5" + 56 * "0").partition(":")[0]
    "its SHA-256 begins as that of MMSA's own MOSI/Processed/unaligned_50.pkl"
    """
    known = OFFICIAL.get(digest.removeprefix("sha256:")[:8])
    return f"its SHA-256 begins as that of MMSA's own {known}" if known else None


def told(path: Path) -> str:
    """What the file at `path` is, in a line; raises OSError."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{path}: {official(digest) or f'no file known here; SHA-256 {digest}'}."
