"""What was found: the file, and what happened, a folder a kind of fault."""

import hashlib
import shutil
from pathlib import Path

KINDS = "findings"
"""Folder of the work folder with what was found so far."""
WORDS = "what.txt"


def keep_finding(work: Path, what: str) -> None:
    """Keep the file that was read last; one of each kind is enough."""
    relative = (work / "file").read_text()
    last = what.strip().splitlines()[-1] if what.strip() else "no word"
    ours = [line.strip() for line in what.splitlines() if "sedimental" in line and "line" in line]
    place = ours[-1] if ours else ""
    kind = hashlib.blake2b(f"{last.split(':')[0]} {place}".encode(), digest_size=4).hexdigest()
    target = work / KINDS / kind
    if not target.exists():
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(work / "case" / relative, target / relative)
        text = f"{last[:160]} {place}\n\n{what}"
        (target / WORDS).write_text(text, encoding="utf-8", errors="backslashreplace")
