"""How much memory this process has."""

import os
from pathlib import Path

PAGES = Path("/proc/self/statm")  # sizes in pages, the second of them what is in memory: proc(5)


def resident_bytes(pages: Path = PAGES) -> int | None:
    """What of this process is in memory, shared libraries and mapped weights included; None where no kernel tells."""
    try:
        return int(pages.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
