"""Import modules one by one in this process, and print which packages that loaded and which side effects it had.

`python import_watch.py FOLDER MODULE...` prints {"loaded": [packages], "effects": ["MODULE: EVENT at FILE:LINE"]}. An
effect is a use of a file, socket, process or thread by a line of a file under FOLDER during its import. The effects of
third-party packages during their own import, and of the import system itself, are not reported.
"""

import importlib
import json
import sys
import threading
from types import FrameType
from typing import Any

WATCHED = ("open", "os.", "shutil.", "tempfile.", "socket.", "subprocess.", "_thread.", "urllib.", "ctypes.", "signal.")
EXCUSED = "/pydantic/plugin/"  # pydantic searches for plugins when the first model is defined, in any module


def main(folder: str, modules: list[str]) -> None:
    """Import the modules and print the report."""
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
            if file.startswith(folder):
                effects.append(f"{importing}: {event} at {file}:{frame.f_lineno}")
                return
            frame = frame.f_back

    start = threading.Thread.start

    def watched_start(thread: threading.Thread) -> None:
        watch("_thread.start", ())  # Python 3.11 has no audit event for threads
        start(thread)

    threading.Thread.start = watched_start  # type: ignore[assignment, method-assign]
    sys.addaudithook(watch)
    for importing in modules:
        importlib.import_module(importing)
    loaded = sorted({name.partition(".")[0] for name in sys.modules})
    sys.stdout.write(json.dumps({"loaded": loaded, "effects": effects}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
