"""How long a place is held, of late."""

from typing import Final

GAIN: Final = 0.1  # of a new time in the mean: it follows a change of pace within some twenty pieces of work
LEAP: Final = (
    2.0  # times the mean: more is not believed of one whose time stands for many, which multiplies a stall too
)


class ServiceTime:
    """Seconds that a place is held for work of cost 1 where all are taken: `mean_s` of late, None before the first."""

    def __init__(self) -> None:
        self.mean_s: float | None = None
        self._noted = 0  # times in the mean, without the first

    def note(self, took_s: float, crowd: float, *, failed: bool) -> None:
        """Learn that work took so long, and would take `crowd` times as long with all places taken, or with fewer less.

        What failed shows only that it takes at least so long, and so does the first, whose worker is cold: it is
        forgotten at the second.
        """
        if self.mean_s is None:
            self.mean_s = None if failed else took_s
            return
        of_all_s = took_s * crowd
        pace_s = max(took_s, min(of_all_s, LEAP * self.mean_s))
        gain = GAIN
        if not failed:
            self._noted += 1
            gain = max(GAIN, 1 / self._noted)
            if pace_s < of_all_s and self._noted * GAIN < 1:  # few are known, and the bound is far from the time
                gain = 1.0
        if not failed or pace_s > self.mean_s:
            self.mean_s += gain * (pace_s - self.mean_s)
