"""The batch sizes that are made ready before the first request."""


def sizes(largest: int) -> list[int]:
    """The powers of two up to `largest`, and `largest` itself."""
    return [*(1 << power for power in range((largest - 1).bit_length())), largest]
