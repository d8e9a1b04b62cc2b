"""The batch sizes that are made ready before the first request, and how a batch of any other size is made of them."""

from collections.abc import Mapping


def sizes(largest: int) -> list[int]:
    """The powers of two up to `largest`, and `largest` itself."""
    return [*(1 << power for power in range((largest - 1).bit_length())), largest]


def plan(times: Mapping[int, float]) -> list[int]:
    """For each count of pictures up to the largest bucket: the bucket to run first, so that all are done soonest.

    `times` are those of a pass by bucket, in any unit. A bucket may be run with fewer pictures than it has room for:
    33 pictures are a pass of 64, or one of 32 and one of 1, as these take less time.
    """
    least, first = [0.0], [0]
    for count in range(1, max(times) + 1):
        time, fewer = min((times[bucket] + least[max(0, count - bucket)], -bucket) for bucket in times)
        least.append(time)
        first.append(-fewer)
    return first
