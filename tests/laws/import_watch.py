"""Imports modules one by one, in a process of its own, and prints what that loaded and what it did besides.

`python import_watch.py HOUSE MODULE...` prints {"loaded": [packages], "effects": ["MODULE: EVENT at FILE:LINE"]}. An
effect is a file, socket, process or thread that was touched by a line of a file under HOUSE while it was imported.
What a third party does while *it* is imported is not ours, nor how the import system finds a module.
"""

import importlib
import json
import sys
import threading
from types import FrameType
from typing import Any

WATCHED = ("open", "os.", "shutil.", "tempfile.", "socket.", "subprocess.", "_thread.", "urllib.", "ctypes.", "signal.")
EXCUSED = "/pydantic/plugin/"  # it looks for its plugins when the first model is defined, whoever defines it


def main(house: str, modules: list[str]) -> None:
    """Import the modules and report."""
    effects: list[str] = []
    importing = ""

    def watch(event: str, _: tuple[Any, ...]) -> None:
        if not event.startswith(WATCHED):
            return
        frame: FrameType | None = sys._getframe(1)
        while frame and not frame.f_code.co_filename.startswith("<frozen importlib"):
            file = frame.f_code.co_filename
            if EXCUSED in file:
                return
            if file.startswith(house):
                effects.append(f"{importing}: {event} at {file}:{frame.f_lineno}")
                return
            frame = frame.f_back

    start = threading.Thread.start

    def watched_start(thread: threading.Thread) -> None:
        watch("_thread.start", ())  # Python 3.11 audits no thread
        start(thread)

    threading.Thread.start = watched_start  # type: ignore[assignment, method-assign]
    sys.addaudithook(watch)
    for importing in modules:
        importlib.import_module(importing)
    loaded = sorted({name.partition(".")[0] for name in sys.modules})
    sys.stdout.write(json.dumps({"loaded": loaded, "effects": effects}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
