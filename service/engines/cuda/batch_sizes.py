"""The batch sizes that are recorded before the first request, and how a batch of any size is composed of them."""

from collections.abc import Mapping


def sizes(largest: int) -> list[int]:
    """Return the powers of two up to `largest`, and `largest` itself."""
    return [*(1 << power for power in range((largest - 1).bit_length())), largest]


def plan(times: Mapping[int, float]) -> list[int]:
    """Return, for each number of images up to the largest size, the size to run first for the shortest total time.

    `times` are the times of a pass by batch size, in any unit. A pass may run with fewer images than its size: 33
    images take one pass of 64, or one of 32 and one of 1, whichever is faster.
    """
    shortest, first = [0.0], [0]
    for count in range(1, max(times) + 1):
        time, negated = min((times[size] + shortest[max(0, count - size)], -size) for size in times)
        shortest.append(time)
        first.append(-negated)
    return first
