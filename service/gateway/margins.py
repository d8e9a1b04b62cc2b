"""How far from what was foretold things turn out, so that a promise can leave room for it."""

GAIN = 0.05  # of a new error: the errors of one batch are alike, and more than one batch is to be remembered
DEVIATIONS = 4.0  # of the mean one, which few errors go beyond


class Margin:
    """What is to be added to a foretold time: the mean error of late and mean deviations (as RFC 6298, section 2)."""

    def __init__(self) -> None:
        self._mean_s = 0.0
        self._deviation_s = 0.0

    @property
    def s(self) -> float:
        """Seconds; less than none where things end sooner than foretold. 0 before anything is known."""
        return self._mean_s + DEVIATIONS * self._deviation_s

    def note(self, error_s: float, *, at_least: bool = False) -> None:
        """Learn that something ended so many seconds after what was foretold, or `at_least` so many."""
        off_s = error_s - self._mean_s
        if at_least and off_s <= 0:
            return
        self._deviation_s += GAIN * (abs(off_s) - self._deviation_s)
        self._mean_s += GAIN * off_s
