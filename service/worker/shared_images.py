"""Reads the images that a gateway on the same host left in shared memory."""

import os
import threading
from pathlib import Path

from service.tasks.frame import UnpackedFrame
from service.tasks.shared_image import STALE, UNREADABLE, ReadError, open_arena, parse_reference, read
from service.worker.exchange import NO_IMAGE, RejectedImageError


class SharedImages:
    """The arenas in a folder. They stay open until their gateways have removed them. Any thread may load images."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: dict[str, int] = {}
        self._lock = threading.Lock()  # no thread closes an arena that another one reads

    def load(self, opened: UnpackedFrame | RejectedImageError) -> UnpackedFrame | RejectedImageError:
        """Return a frame with the image that its head refers to; other frames, and refusals, as they are.

        The image is a copy, so that it stays what it is, whatever happens to the shared memory.
        """
        if isinstance(opened, RejectedImageError) or "shared" not in opened[0]:
            return opened
        head, arrays = opened
        try:
            name, offset, generation, shape = parse_reference(head["shared"])
            with self._lock:
                image = read(self._arena(name), offset, generation, shape)
            return head, {**arrays, "image": image}
        except ReadError as error:
            return RejectedImageError(str(error), error.code)
        except MemoryError:  # of a shape that no arena has
            return RejectedImageError("The image is larger than the memory.", STALE)
        except (KeyError, TypeError, ValueError, OverflowError):
            return RejectedImageError(NO_IMAGE)

    def close(self) -> None:
        """Close the arenas."""
        for descriptor in self._opened.values():
            os.close(descriptor)
        self._opened.clear()

    def _arena(self, name: str) -> int:
        """Return the descriptor of an arena. Raises `ReadError`."""
        if name not in self._opened:
            self._close_removed()
            try:
                self._opened[name] = open_arena(self._folder / name)
            except OSError as error:
                raise ReadError(UNREADABLE, "The worker does not share the gateway's memory.") from error
        return self._opened[name]

    def _close_removed(self) -> None:
        """Close what gateways have removed, which frees its memory. A new arena usually replaces a removed one."""
        for name, descriptor in list(self._opened.items()):
            if not os.fstat(descriptor).st_nlink:
                os.close(self._opened.pop(name))
