"""The dashboard *Service*: what callers get. Objectives, requests, refusals, the stages of an image, and versions."""

from deploy.grafana.boards.panels import Board, Graph, Heatmap, Query, Row, Stat, Steps
from deploy.grafana.boards.promql import (
    MODEL,
    PREDICTIONS,
    ROUTE,
    mean,
    quantile,
    rate,
    recorded,
    selected,
    share,
    total,
)

DURATION = "resnest_http_request_duration_seconds"
PROCESSING = "resnest_http_request_processing_seconds"
STAGE = "resnest_stage_duration_seconds"
# An image's upload has no model.
ANY_MODEL = 'model=~"$model|"'
BY_VERSION = ("family", "version")
OF_VERSION = (
    f" * on (job, instance, model) group_left (family, version) ({selected('resnest_version_share', MODEL)} >= bool 0)"
)
PREDICTED = total(rate("resnest_http_requests_total", PREDICTIONS))
ROUTE_AND_MODEL = "{{objective}} {{route}}{{model}}"


FAILED = total(rate("resnest_http_requests_total", PREDICTIONS, 'status=~"5.."'))
OVERVIEW = Row(
    "Overview",
    Stat(
        "Gateways ready",
        "Gateways whose /readyz returns 200, and gateways that run. Those that are not ready get no requests.",
        "short",
        Query(total(selected("resnest_ready")), "ready"),
        Query(f"count({selected('resnest_ready')})", "running"),
        steps=Steps(("red", None), ("green", 1)),
    ),
    Stat(
        "Predictions",
        "POST requests a second to /v1 and to infer of /v2, whatever the response.",
        "reqps",
        Query(PREDICTED, "requests"),
    ),
    Stat(
        "Failed predictions",
        "Share of predictions answered with 5xx, including rejections for lack of capacity. "
        "GatewayErrors fires above 5 %, without these rejections.",
        "percentunit",
        Query(share(f"({FAILED} or vector(0))", PREDICTED), "failed"),
        steps=Steps(("green", None), ("orange", 0.01), ("red", 0.05)),
    ),
    Stat(
        "p99 latency",
        "99th percentile of the time from the end of a request's body until its response is complete, for "
        "predictions: without the caller's network. HighLatency fires above 5 s on one route.",
        "s",
        Query(quantile(0.99, PROCESSING, (), PREDICTIONS), "p99"),
        steps=Steps(("green", None), ("orange", 1), ("red", 5)),
    ),
    Stat(
        "Versions",
        "Gateways by the version they run; two versions are shown during a rollout.",
        "short",
        Query(f"count by (version) ({selected('resnest_build_info')})", "{{version}}"),
    ),
)


BY = "by (objective, route, model)"
OBJECTIVES = Row(
    "Objectives",
    Graph(
        "Error budget left",
        "Share of the error budget of 30 days that is left. Below 0 the objective is missed.",
        "percentunit",
        Query(f"min {BY} ({recorded('objective:resnest_budget_left:ratio30d')})", ROUTE_AND_MODEL),
        least=None,
    ),
    Graph(
        "Error budget burn",
        "How near each objective is to its alerts. ErrorBudgetBurningFast fires above 1 of page, "
        "ErrorBudgetBurningSlowly fires above 1 of ticket.",
        "short",
        *(
            Query(f"max {BY} ({recorded(f'objective:resnest_burn:{kind}')})", f"{kind} {ROUTE_AND_MODEL}")
            for kind in ("page", "ticket")
        ),
    ),
)


PROBLEMS = total(rate("resnest_problems_total"), "code")
REQUESTS = Row(
    "Requests",
    Graph(
        "Request rate by route",
        "Requests a second by route template and method.",
        "reqps",
        Query(total(rate("resnest_http_requests_total", ROUTE), "route", "method"), "{{method}} {{route}}"),
    ),
    Graph(
        "Responses by status",
        "Requests a second by HTTP status: 4xx is a caller's mistake, 5xx is the service's failure.",
        "reqps",
        Query(total(rate("resnest_http_requests_total", ROUTE), "status"), "{{status}}"),
        style="stack",
    ),
    Graph(
        "Problems per request, by code",
        "Problem responses of each code, divided by all requests to the prediction routes. docs/problems.md lists "
        "the codes. Overloaded fires above 1 % of overloaded, without background requests.",
        "percentunit",
        Query(f"{PROBLEMS} / on () group_left () ({PREDICTED} > 0)", "{{code}}"),
    ),
    Graph(
        "Latency",
        "Percentiles of the duration of whole requests over the chosen routes, with their uploads. A dot is a request "
        "with its trace.",
        "s",
        *(Query(quantile(each / 100, DURATION, (), ROUTE), f"p{each}", has_exemplars=True) for each in (50, 95, 99)),
    ),
    Heatmap(
        "Latency distribution",
        "Requests a second by latency bucket.",
        "s",
        Query(total(rate(f"{DURATION}_bucket", ROUTE), "le"), "{{le}}"),
    ),
    Graph(
        "Requests in flight",
        "Requests that are being read, computed or answered now, by route.",
        "short",
        Query(total(selected("resnest_http_requests_in_flight", ROUTE), "route"), "{{route}}"),
    ),
    Graph(
        "Requests by caller",
        "Requests by the name of the API key and by whether access was granted. unknown: no valid key; "
        "token: all tokens; anonymous: no key was required.",
        "reqps",
        Query(total(rate("resnest_caller_requests_total"), "caller", "outcome"), "{{caller}} {{outcome}}"),
    ),
    Graph(
        "Failures that callers cause",
        "Requests answered 504 at a deadline that the caller had set, shorter than the model's, and background "
        "requests that were rejected as overloaded and are sent again. Alerts and objectives leave them out.",
        "reqps",
        Query(total(rate("resnest_caller_deadlines_total"), "route"), "deadline {{route}}"),
        Query(total(rate("resnest_background_rejections_total"), "route"), "background {{route}}"),
    ),
)


STAGES = Row(
    "Stages",
    Graph(
        "Images by outcome",
        "Images a second by model and outcome: ok, or the code of the problem that replaces the result. "
        "ImagesFailing fires above 5 % of a model's images.",
        "ops",
        Query(total(rate("resnest_images_total", MODEL), "model", "outcome"), "{{model}} {{outcome}}"),
    ),
    Graph(
        "Mean time per stage",
        "Mean seconds an image spends in each stage, stacked. queue: waiting for a batch. inference: the forward "
        "pass. upload: measured once a request, without a model.",
        "s",
        Query(mean(STAGE, ("stage",), ANY_MODEL), "{{stage}}"),
        style="stack",
    ),
    *(
        Graph(
            f"p{each} of each stage",
            f"{each}th percentile of each stage; their sum is not a percentile of the total.",
            "s",
            Query(quantile(each / 100, STAGE, ("stage",), ANY_MODEL), "{{stage}}"),
        )
        for each in (95, 99)
    ),
    Graph(
        "Upload size",
        "Size of request bodies.",
        "bytes",
        *(Query(quantile(each / 100, "resnest_upload_bytes", (), ROUTE), f"p{each}") for each in (50, 95)),
    ),
    Graph(
        "Decode processes lost",
        "Decode processes a second that ended during a job. The decoder had a fault (crashed), used more than "
        "RESNEST_DECODE_CPU_S (spinning), was ended from outside (killed), or its caller had left (given_up). "
        "Gateway processes that were replaced are the line gateway. DecodeProcessesLost fires above 5 in ten "
        "minutes.",
        "ops",
        Query(total(rate("resnest_decode_processes_lost_total"), "reason"), "{{reason}}"),
        Query(total(rate("resnest_gateway_restarts_total")), "gateway"),
    ),
)


IMAGES = total(rate("resnest_images_total", MODEL) + OF_VERSION, *BY_VERSION)
FAILED_BY_VERSION = total(rate("resnest_images_total", MODEL, 'outcome!="ok"') + OF_VERSION, *BY_VERSION)
WAITED = quantile(0.95, STAGE, (*BY_VERSION, "stage"), MODEL, 'stage=~"queue|inference"', joined=OF_VERSION)
AGREEMENT = total(rate("resnest_shadow_agreement_total"), *BY_VERSION)
COMPARED = total(rate("resnest_shadow_images_total", 'outcome="compared"'), *BY_VERSION)
LEGEND = "{{family}} {{version}}"
VERSIONS = Row(
    "Versions",
    Graph(
        "Images by version",
        "Images that each version of a model answered or failed, however the version was chosen.",
        "ops",
        Query(IMAGES, LEGEND),
    ),
    Graph(
        "Traffic share by version",
        "The share of requests without a version that each version receives, by the traffic file.",
        "percentunit",
        Query(f"avg by (family, version) ({selected('resnest_version_share', MODEL)})", LEGEND),
        most=1,
    ),
    Graph(
        "Failed images by version",
        "The share of each version's images that failed.",
        "percentunit",
        Query(share(FAILED_BY_VERSION, IMAGES), LEGEND),
    ),
    Graph(
        "p95 by version",
        "95th percentile of an image's queue wait and inference time for each version, including shadow traffic's "
        "inference.",
        "s",
        Query(WAITED, f"{LEGEND} {{{{stage}}}}"),
    ),
    Graph(
        "Shadow traffic",
        "Images chosen for shadow traffic: compared with the returned answer, failed, or dropped for lack of capacity.",
        "ops",
        Query(total(rate("resnest_shadow_images_total"), *BY_VERSION, "outcome"), f"{LEGEND} {{{{outcome}}}}"),
    ),
    Graph(
        "Shadow agreement",
        "Share of compared images with the same best class, or of the pixels of their masks with the same class.",
        "percentunit",
        Query(share(AGREEMENT, COMPARED), LEGEND),
        most=1,
    ),
    Graph(
        "Gateways by address",
        "Which host, in Kubernetes which pod, had an address, and in which version. Panels name gateways by address.",
        "short",
        Query(
            f"max by (instance, host, version) ({selected('resnest_build_info')})", "{{instance}} {{host}} {{version}}"
        ),
    ),
)


def board() -> Board:
    """Return the dashboard."""
    rows = (OVERVIEW, OBJECTIVES, REQUESTS, STAGES, VERSIONS)
    return Board(
        "resnest-service",
        "ResNeSt: service",
        "What callers get: objectives, requests, refusals by code, the stages of an image, and versions.",
        rows,
        ("route", "model"),
    )
