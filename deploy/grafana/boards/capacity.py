"""The dashboard *Capacity*: load against the measured knee, replicas against wanted ones, and what images cost.

`$knee`, `$target` and `$price` are text boxes. They are the images/s of one model server at the knee, the images in
flight for which the autoscaler wants one, and the price of one for an hour. `resnest-service capacity` measures the
first two.
"""

from deploy.grafana.boards.panels import Board, Graph, Query, Row, Stat, TextBox
from deploy.grafana.boards.promql import MODEL, PREDICTIONS, rate, selected, share, total

BY_MODEL = "{{model}}"
# Of the knee, at which the autoscaler adds a server: docs/operations/scale.md.
PLANNED = 0.7
SERVERS = f"max by (model) (sum by (instance, model) ({selected('resnest_circuit_breakers', MODEL)}))"
# Admitted or rejected, without those that are in the response cache.
OFFERED = total(rate("resnest_images_offered_total", MODEL), "model")
# Each image of a batch is one sample. Images from the response cache are none.
COMPUTED = total(rate("resnest_batch_size_count", MODEL), "model")
ANSWERED = total(rate("resnest_images_total", MODEL, 'outcome="ok"'), "model")
IN_FLIGHT = total(selected("resnest_inference_in_flight", MODEL), "model")
HOUR_S = 3600


BUSY = total(rate("resnest_model_busy_seconds_total", MODEL), "model")
READY = f"max by (model) ({selected('resnest_workers_ready', MODEL)})"
OVERLOADED = total(rate("resnest_problems_total", 'code="overloaded"'))
PREDICTED = total(rate("resnest_http_requests_total", PREDICTIONS))
LIMIT = total(selected("resnest_inference_in_flight_limit"))
LOAD = Row(
    "Load",
    Graph(
        "Load against the knee",
        "Images a second that callers offered, admitted or rejected, and that were answered, from the response cache "
        "too. The knee is the text box times the servers.",
        "ops",
        Query(OFFERED, f"{BY_MODEL} offered"),
        Query(ANSWERED, f"{BY_MODEL} answered"),
        Query(f"$knee * {SERVERS}", f"{BY_MODEL} knee"),
        dashed="knee",
    ),
    Graph(
        "Load as a share of the knee",
        f"Offered images divided by what all servers do at the knee. Plan for {PLANNED:.0%}: one may fail.",
        "percentunit",
        Query(share(OFFERED, f"($knee * {SERVERS})"), BY_MODEL),
    ),
    Graph(
        "Capacity as measured now",
        "Images a second that the ready workers would do if they were always busy, at the present batch size. With "
        "little load it is too low, because batches are small.",
        "ops",
        Query(f"{share(COMPUTED, BUSY)} * {READY}", BY_MODEL),
    ),
    Graph(
        "Slots in use",
        "Images in flight, divided by RESNEST_MAX_IN_FLIGHT of all gateways. At 100 % gateways reject. "
        "QueueSaturated fires above 75 %.",
        "percentunit",
        Query(f"{IN_FLIGHT} / on () group_left () ({LIMIT})", BY_MODEL),
    ),
    Graph(
        "Rejected for lack of capacity",
        "Share of the requests that were rejected as overloaded, over all models.",
        "percentunit",
        Query(share(OVERLOADED, PREDICTED), "rejected"),
    ),
)


REPLICAS = Row(
    "Replicas",
    Graph(
        "Model servers against wanted ones",
        "Model servers that gateways see, and how many the autoscaler wants: by images in flight, and by offered "
        f"images at {PLANNED:.0%} of the knee. If more are wanted for long, the autoscaler is at its maximum, or "
        "does not work.",
        "short",
        Query(SERVERS, f"{BY_MODEL} present"),
        Query(f"ceil({IN_FLIGHT} / $target)", f"{BY_MODEL} wanted by images in flight"),
        Query(f"ceil({OFFERED} / ({PLANNED} * $knee))", f"{BY_MODEL} wanted by offered images"),
        dashed="wanted.*",
    ),
    Graph(
        "Images a gateway",
        "Images a second that each gateway answers. Multiplied by the processor time of an image, it is how busy a "
        "gateway is.",
        "ops",
        Query(total(rate("resnest_images_total", MODEL, 'outcome="ok"'), "instance"), "{{instance}}"),
    ),
)


ALL_SERVERS = f"max({SERVERS})"
ALL_ANSWERED = total(rate("resnest_images_total", MODEL, 'outcome="ok"'))
COST = Row(
    "Cost",
    Graph(
        "Cost of a thousand images",
        "Price of all model servers, divided by the answered images, and the same at the knee. The difference is "
        "what idle servers cost. Gateways are not in it.",
        "short",
        Query(share(f"1000 * $price * {ALL_SERVERS} / {HOUR_S}", ALL_ANSWERED), "now"),
        Query(f"vector(1000 * $price / {HOUR_S} / $knee)", "at the knee"),
        dashed="at the knee",
    ),
    Stat(
        "Cost of an hour",
        "Price of all model servers for an hour.",
        "short",
        Query(f"$price * {ALL_SERVERS}", "servers"),
    ),
    Stat(
        "Images an hour",
        "Images answered in an hour at the present rate.",
        "short",
        Query(f"{HOUR_S} * {ALL_ANSWERED}", "images"),
    ),
)


def board() -> Board:
    """Return the dashboard."""
    return Board(
        "resnest-capacity",
        "ResNeSt: capacity",
        "Load against the knee, replicas against wanted ones, and cost. Choose one model, and fill in its numbers.",
        (LOAD, REPLICAS, COST),
        ("model",),
        (
            TextBox("knee", "images/s of a server at the knee", "100"),
            TextBox("target", "images in flight of a server", "8"),
            TextBox("price", "price of a server for an hour", "1"),
        ),
    )
