"""Whether a clip is short enough for the memory, with an encoder that hears it all at once."""

import os
from pathlib import Path
from typing import Any

from ....cache.summary import size_text

FIRST = 3.5
"""Tables of the size that the first convolution gives alive at once: itself, its norm, its
activation, half of the second (measured: 22 MB a second of sound for WavLM-Large and its kin)."""
KEPT = 2
"""Copies of the hidden states that are kept: one by one, and together."""
MARGIN = 0.8
"""Share of the free memory that one clip may take."""


def too_long(config: Any, samples: int, stored: int, seconds: float) -> str | None:
    """Why a clip of so many samples, of which `stored` numbers are kept, cannot be encoded on a
    CPU, or None.

    The operating system ends a process that asks for too much, and all its work; a GPU says no.
    """
    first = samples / config.conv_stride[0] * config.conv_dim[0]
    needed, free = (FIRST * first + KEPT * stored) * 4, free_memory()
    if needed <= MARGIN * free:
        return None
    return (
        f"a clip of {seconds:.0f} s needs {size_text(needed)} of memory in one piece, "
        f"{size_text(free)} are free; cut it with start and end"
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
