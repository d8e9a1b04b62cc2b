"""The dashboard *Models and GPUs*: how each model is, how full its batches and workers are, and what memory is used."""

from deploy.grafana.boards import gpus
from deploy.grafana.boards.panels import Board, Graph, Query, Row
from deploy.grafana.boards.promql import MODEL, WORKERS, mean, quantile, rate, recorded, selected, share, total

BY_MODEL = "{{model}}"
NOT_CLOSED = 'state!="closed"'
CACHES = ("cache", "shared_memory")


LABELS = "model, version, task, engine, device, precision"
HEALTH = Row(
    "Health",
    Graph(
        "Readiness by gateway and model",
        "1 while a gateway gets requests, and while any gateway has answers of a model. GatewayNotReady and "
        "ModelNotReady fire at 0. refused: ModelRefused fires at 1.",
        "short",
        Query(f"min by (instance) ({selected('resnest_ready')})", "{{instance}}"),
        Query(f"max by (model) ({selected('resnest_model_ready', MODEL)})", BY_MODEL),
        Query(f"max by (model) ({selected('resnest_model_refused', MODEL)})", f"{BY_MODEL} refused"),
        most=1,
        style="step",
    ),
    Graph(
        "Workers",
        "Ready and configured worker processes, as the gateways see them. WorkersMissing fires where they differ.",
        "short",
        Query(f"min by (model) ({selected('resnest_workers_ready', MODEL)})", f"{BY_MODEL} ready"),
        Query(f"max by (model) ({selected('resnest_workers_configured', MODEL)})", f"{BY_MODEL} configured"),
        dashed="configured",
    ),
    Graph(
        "Worker restarts",
        "Worker processes that were replaced in a minute, alone (process) or with their model server (server). The "
        "gateway that has seen most of them counts. WorkersRestarting fires above 3 in 15 minutes.",
        "short",
        Query(
            f"max by (model, cause) ({rate('resnest_worker_restarts_total', MODEL)}) * 60",
            f"{BY_MODEL} {{{{cause}}}}",
        ),
    ),
    Graph(
        "Time since the last success",
        "Time since a model has last computed an image for a caller. It also grows without requests.",
        "s",
        Query(
            f"time() - max by (model) ({selected('resnest_model_last_success_timestamp_seconds', MODEL)} > 0)",
            BY_MODEL,
        ),
    ),
    Graph(
        "Time to load",
        "Time that a worker process took to load its model, with its first batches. A new worker answers after it.",
        "s",
        Query(f"max by (model) (resnest_model_load_seconds{{{WORKERS}}})", BY_MODEL),
    ),
    Graph(
        "Models and engines",
        "Number of gateways whose last probe of a model was answered by this engine on this device, with the "
        "precision of its card.",
        "short",
        Query(
            f"count by ({LABELS}) ({selected('resnest_model_info', MODEL)} == 1)",
            "{{model}} {{version}} {{task}} {{engine}} {{device}} {{precision}}",
        ),
    ),
)


BATCHING = Row(
    "Batching",
    Graph(
        "Batch size",
        "Images in the forward pass, weighted by image. It grows with load; 1 at full load means that batching "
        "does not work.",
        "short",
        Query(mean("resnest_batch_size", ("model",), MODEL), f"{BY_MODEL} mean"),
        Query(quantile(0.95, "resnest_batch_size", ("model",), MODEL), f"{BY_MODEL} p95"),
    ),
    Graph(
        "Batch fill",
        "Mean batch, as a share of the largest that the card allows. BatchFillCollapsed fires on a GPU below 25 % "
        "while a full batch for each worker is in flight.",
        "percentunit",
        Query(recorded("job_model:resnest_batch_fill:ratio_rate5m", MODEL), BY_MODEL),
        most=1,
    ),
    Graph(
        "Images in halved batches",
        "Share of the images whose batch did not fit into the memory of its device, and was computed in smaller "
        "passes. BatchesHalved fires above 1 %.",
        "percentunit",
        Query(
            share(
                total(rate("resnest_images_in_halved_batches_total", MODEL), "model"),
                total(rate("resnest_batch_size_count", MODEL), "model"),
            ),
            BY_MODEL,
        ),
        most=1,
    ),
    Graph(
        "Images in flight",
        "Images waiting or running, by model, over all gateways: the autoscaler's signal. QueueSaturated fires "
        "above 75 % of the limit.",
        "short",
        Query(total(selected("resnest_inference_in_flight", MODEL), "model"), BY_MODEL),
        Query(total(selected("resnest_inference_in_flight_limit")), "limit of a model"),
        dashed="limit of a model",
    ),
    *(
        Graph(
            title,
            description,
            "s",
            *(
                Query(
                    quantile(each / 100, "resnest_stage_duration_seconds", ("model",), MODEL, f'stage="{stage}"'),
                    f"{BY_MODEL} p{each}",
                )
                for each in (50, 99)
            ),
        )
        for stage, title, description in (
            (
                "queue",
                "Wait for a batch",
                "Wait of an image for a batch, with the way to the worker and back.",
            ),
            ("inference", "Time of a batch", "Time of the forward pass of an image's batch."),
        )
    ),
)


BUSY = rate("resnest_model_busy_seconds_total", MODEL)
READY = f"max by (model) ({selected('resnest_workers_ready', MODEL)})"
# Each image of a batch is one sample. Images from the response cache are none.
COMPUTED = total(rate("resnest_batch_size_count", MODEL), "model")
OCCUPANCY = Row(
    "Occupancy",
    Graph(
        "Busy share of workers",
        "Share of the time that the ready workers of a model spend on batches. Near 100 % more workers are needed, "
        "or larger batches.",
        "percentunit",
        Query(share(total(BUSY, "model"), READY), BY_MODEL),
    ),
    Graph(
        "Images per busy second",
        "Images that a worker computes in a second of work. It grows with the batch. If it falls at the same batch "
        "size, the device has become slower: throttled, or shared.",
        "ops",
        Query(share(COMPUTED, total(BUSY, "model")), BY_MODEL),
    ),
)


SERVERS = Row(
    "Model servers",
    Graph(
        "Open circuit breakers",
        "Model servers that a gateway does not use for a model because its last requests failed (open), or that it "
        "tries with one request at a time (half_open). CircuitBreakerOpen fires if one stays so.",
        "short",
        Query(
            f"max by (model, state) ({selected('resnest_circuit_breakers', NOT_CLOSED, MODEL)})",
            f"{BY_MODEL} {{{{state}}}}",
        ),
    ),
    Graph(
        "Retries",
        "Images sent again, to another model server or connection, because the first failed or was too slow, by "
        "outcome.",
        "ops",
        Query(total(rate("resnest_retries_total", MODEL), "model", "outcome"), f"{BY_MODEL} {{{{outcome}}}}"),
    ),
    Graph(
        "Images by transport",
        "Images sent to the model servers in shared memory or as bytes. A worker on another host gets bytes.",
        "ops",
        Query(total(rate("resnest_images_sent_total", MODEL), "model", "transport"), f"{BY_MODEL} {{{{transport}}}}"),
    ),
)


CACHE, SHARED = (
    [
        Query(f"max by (instance) ({selected(f'resnest_{of}_bytes')})", "{{instance}}"),
        Query(f"max by (instance) ({selected(f'resnest_{of}_limit_bytes')})", "{{instance}} limit"),
    ]
    for of in CACHES
)
MEMORY = Row(
    "Memory",
    Graph(
        "Response cache",
        "Images found in the response cache (hit), coalesced with another request for the same image "
        "(coalesced), or computed (miss). Empty if RESNEST_CACHE_BYTES is 0.",
        "ops",
        Query(total(rate("resnest_cache_lookups_total"), "outcome"), "{{outcome}}"),
    ),
    Graph(
        "Response cache size",
        "Size of the response cache of each gateway, at most RESNEST_CACHE_BYTES.",
        "bytes",
        *CACHE,
        dashed="limit",
    ),
    Graph(
        "Shared memory",
        "Shared memory that holds decoded images until their models have answered. Images that find no room are "
        "sent to the workers as bytes.",
        "bytes",
        *SHARED,
        dashed="limit",
    ),
    Graph(
        "Memory of gateways",
        "Memory of each gateway process, without its decode processes. Empty with several gateway processes on a host.",
        "bytes",
        Query(f"max by (instance) ({selected('process_resident_memory_bytes')})", "{{instance}}"),
    ),
    Graph(
        "Open files of gateways",
        "Open files and connections of each gateway process, and how many it may have.",
        "short",
        Query(f"max by (instance) ({selected('process_open_fds')})", "{{instance}}"),
        Query(f"max by (instance) ({selected('process_max_fds')})", "{{instance}} limit"),
        dashed="limit",
    ),
)


def board() -> Board:
    """Return the dashboard."""
    return Board(
        "resnest-models",
        "ResNeSt: models and GPUs",
        "The health of each model, its batches and queue, how busy its workers are, GPUs, and memory.",
        (HEALTH, BATCHING, OCCUPANCY, gpus.ROW, SERVERS, MEMORY),
        ("model",),
    )
