"""Whether a clip is short enough for an encoder that attends over all of its frames at once."""

import os
from pathlib import Path
from typing import Any

COPIES = 3
"""Tables of heads x frames x frames alive at once: position bias, scores, their softmax."""
MARGIN = 0.8
"""Share of the free memory that one clip may take."""


def too_long(config: Any, frames: int, seconds: float) -> str | None:
    """Why a clip of so many frames cannot be encoded on a CPU, or None.

    The operating system ends a process that asks for too much, and all its work; a GPU says no.
    """
    heads = getattr(config, "num_attention_heads", 0)
    needed, free = COPIES * heads * frames**2 * 4, free_memory()
    if needed <= MARGIN * free:
        return None
    return (
        f"a clip of {seconds:.0f} s needs {needed / 1e9:.0f} GB of memory for attention over all "
        f"of it, {free / 1e9:.0f} GB are free; cut it with start and end"
    )


def free_memory() -> float:
    """Bytes that can be had without harm; all there are where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
