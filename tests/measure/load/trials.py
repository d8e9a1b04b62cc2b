"""Trials with known figures."""

from service.measure.load.generator import OK, Sample
from service.measure.load.summary import Window, summarise
from service.measure.load.trial import Kind, Load, Trial
from service.measure.load.usage import Usage


def make_trial(amount: float, per_s: int, latency_s: float, errors: int = 0, kind: Kind = "poisson") -> Trial:
    """Return a trial of one second with `per_s` successful replies of one latency, and some rejections."""
    samples = [
        Sample(index / per_s, index / per_s, index / per_s + latency_s, OK, 1, "decode;dur=2.0")
        for index in range(per_s)
    ]
    samples += [Sample(0.5, 0.5, 0.6, "503 overloaded", 1, "")] * errors
    window = Window(0.0, 1.0 + latency_s)
    return Trial(Load(kind, amount), summarise(samples, window), [Usage(7, "gateway", 0.5, 120.0)])
