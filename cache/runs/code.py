"""Which code and which packages made a number."""

import hashlib
import subprocess
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""Of this package, which in a checkout is the root of the repository."""


@cache
def commit() -> str:
    """The commit that is checked out, with ``+`` where a file differs from it; empty without git,
    and where this package is installed rather than checked out."""
    if not (ROOT / ".git").exists():
        return ""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


@cache
def lock_digest() -> str:
    """First 16 digits of ``sha256sum uv.lock``; empty where there is no lock beside the code."""
    try:
        return hashlib.sha256((ROOT / "uv.lock").read_bytes()).hexdigest()[:16]
    except OSError:
        return ""


@cache
def packages_digest() -> str:
    """16 digits over the names and versions of all packages that are installed."""
    found = {f"{one.name.lower()}=={one.version}" for one in distributions() if one.name}
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()[:16]


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments],
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    ).stdout.strip()
