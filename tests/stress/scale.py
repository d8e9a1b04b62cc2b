"""How many of the requests that a bar names are sent: `make stress STRESS_SHARE=0.1` sends a tenth."""

import os


def scaled(count: int) -> int:
    """That share of `count`, at least one."""
    return max(1, round(count * float(os.environ.get("STRESS_SHARE", "1"))))
