"""Scales the number of requests of the stress tests: `make stress STRESS_SHARE=0.1` sends a tenth."""

import os

REFUSED = float(os.environ.get("STRESS_REFUSED", "0.05"))  # the share of requests that may meet `overloaded`


def scaled(count: int) -> int:
    """Return the share STRESS_SHARE of `count`, at least one."""
    return max(1, round(count * float(os.environ.get("STRESS_SHARE", "1"))))
