"""The memory of this process."""

import os
from pathlib import Path

PAGES = Path("/proc/self/statm")  # sizes in pages; the second is the resident set, see proc(5)


def resident_bytes(pages: Path = PAGES) -> int | None:
    """Return the resident memory in bytes, shared libraries and mapped weights included; None if it is unknown."""
    try:
        return int(pages.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
