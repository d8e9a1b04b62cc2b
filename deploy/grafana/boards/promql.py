"""Write the parts that the panels' queries have in common. `$name` is a variable of the dashboard."""

JOB = 'job=~"$job"'
GATEWAYS = f'{JOB}, instance=~"$instance"'
WORKERS = 'job="resnest-worker"'
MODEL = 'model=~"$model"'
ROUTE = 'route=~"$route"'
PREDICTIONS = 'route=~"/v1/.+|/v2/.+/infer", method="POST"'


def selected(metric: str, *matchers: str) -> str:
    """Return the series of a metric at the chosen gateways."""
    return f"{metric}{{{', '.join((GATEWAYS, *matchers))}}}"


def rate(metric: str, *matchers: str) -> str:
    """Return how much a counter grows a second, at the chosen gateways."""
    return f"rate({selected(metric, *matchers)}[$__rate_interval])"


def total(expression: str, *labels: str) -> str:
    """Return the sum of an expression for each value of the labels."""
    return f"sum by ({', '.join(labels)}) ({expression})" if labels else f"sum({expression})"


def share(part: str, whole: str) -> str:
    """Return a part of a whole, and nothing while the whole is zero."""
    return f"{part} / ({whole} > 0)"


def mean(histogram: str, labels: tuple[str, ...], *matchers: str) -> str:
    """Return the mean of what a histogram has counted, for each value of the labels."""
    parts = (total(rate(f"{histogram}_{part}", *matchers), *labels) for part in ("sum", "count"))
    return share(*parts)


def quantile(of: float, histogram: str, labels: tuple[str, ...], *matchers: str, joined: str = "") -> str:
    """Return a quantile of a histogram for each value of the labels. `joined` is multiplied with the buckets."""
    buckets = total(f"{rate(f'{histogram}_bucket', *matchers)}{joined}", *labels, "le")
    return f"histogram_quantile({of:g}, {buckets})"


def recorded(name: str, *matchers: str) -> str:
    """Return a recorded series of the chosen jobs. It is a sum over their gateways."""
    return f"{name}{{{', '.join((JOB, *matchers))}}}"
