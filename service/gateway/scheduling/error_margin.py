"""How far from what was foretold things turn out, so that a promise can leave room for it."""

from typing import Final

GAIN: Final = 0.05  # of a new error: the errors of one batch are alike, and more than one batch is to be remembered
DEVIATIONS: Final = 4.0  # of the mean one, which few errors go beyond
MOST: Final = 1.0  # however late it was: who is refused for it teaches nothing


class ErrorMargin:
    """The share by which foretold times are to be lengthened: the mean error of late and some mean deviations."""

    def __init__(self) -> None:
        self._mean = 0.0
        self._deviation = 0.0

    @property
    def share(self) -> float:
        """0, where nothing is known or things end sooner than foretold, to `MOST`."""
        return min(MOST, max(0.0, self._mean + DEVIATIONS * self._deviation))

    def note(self, foretold_s: float, took_s: float, *, at_least: bool = False) -> None:
        """Learn that something foretold for so many seconds, more than 0, took so many, or `at_least` so many."""
        off = min(MOST, took_s / foretold_s - 1) - self._mean
        if at_least and off <= 0:
            return
        self._deviation += GAIN * (2 * max(0.0, off) - self._deviation)  # to one side, as large as that to both
        self._mean += GAIN * off
