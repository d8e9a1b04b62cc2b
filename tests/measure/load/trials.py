"""Trials of known figures."""

from service.measure.load.generator import OK, Sample
from service.measure.load.summary import Window, summarise
from service.measure.load.trial import Kind, Load, Trial
from service.measure.load.usage import Usage


def made(amount: float, per_s: int, latency_s: float, errors: int = 0, kind: Kind = "poisson") -> Trial:
    """A second of `per_s` good answers of one latency, and some refusals."""
    samples = [
        Sample(place / per_s, place / per_s, place / per_s + latency_s, OK, 1, "decode;dur=2.0")
        for place in range(per_s)
    ]
    samples += [Sample(0.5, 0.5, 0.6, "503 overloaded", 1, "")] * errors
    window = Window(0.0, 1.0 + latency_s)
    return Trial(Load(kind, amount), summarise(samples, window), [Usage(7, "gateway", 0.5, 120.0)])
