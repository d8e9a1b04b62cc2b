"""Examples for the description of the API. Our own code makes the images, the masks and the problems."""

from typing import Any

from service import __version__
from service.errors import ServiceError
from service.imaging.decoder import FORMATS
from service.tasks import TASKS, sample

# The members of an example problem that its class does not define.
BOUNDS: dict[str, dict[str, Any]] = {
    "body_too_large": {"limit": 20_971_520, "actual": 20_971_521},
    "image_too_large": {"limit": 50_000_000, "actual": 60_000_000},
    "image_too_small": {"limit": 8, "actual": 4},
    "image_too_costly": {"limit": 16_000_900, "actual": 40_000_000},
    "too_many_images": {"limit": 32, "actual": 33},
    "overloaded": {"limit": 64, "actual": 65},
    "rate_limited": {"limit": 32, "violated-policies": ["images"]},
    "concurrency_limited": {"limit": 4, "actual": 5, "violated-policies": ["concurrency"]},
    "unsupported_media_type": {"accepted": list(FORMATS)},
    "not_acceptable": {"accepted": ["application/json"]},
    "invalid_header": {"errors": [{"parameter": "Request-Timeout", "detail": "More than 0 and at most 60."}]},
    "model_not_found": {"available": ["starter-classifier"]},
    "invalid_parameter": {"errors": [{"parameter": "top_k", "detail": "At most 7, the model's classes."}]},
}


def problem(error: type[ServiceError]) -> dict[str, Any]:
    """Return a problem document of that class."""
    made = error(f"{error.title}.", **BOUNDS.get(error.code(), {}))
    return {**made.problem(), "request_id": sample.REQUEST_ID}


def request() -> dict[str, Any]:
    """Return a JSON request with a complete, small image."""
    return {"images": [{"content": sample.in_base64(sample.png())}]}


def tensors() -> dict[str, Any]:
    """Return a tensor request with the same image."""
    return {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [sample.in_base64(sample.png())]}]}


def models() -> dict[str, Any]:
    """Return a list of one model."""
    return {"models": [_summary()]}


def model() -> dict[str, Any]:
    """Return a model with all members."""
    return {
        **_summary(),
        "network": "resnest14",
        "identity": "5be0a2c47d19f3868b0e47c1a96d52f3e81b7c0459fa6d23c7180e95b4d6a21f",
        "input": {"profile": "official", "size": 160},
        "memory": {"weights_bytes": 21_243_920, "worker_bytes": 412_000_256},
        "transport": "shared_memory",
        "languages": ["en", "de"],
        "labels": [{"class_id": 0, "label": "cat"}, {"class_id": 1, "label": "dog"}],
        "limits": {
            "max_upload_bytes": 20_971_520,
            "max_images": 32,
            "max_pixels": 50_000_000,
            "max_side": 16_384,
            "min_side": 8,
        },
        "formats": list(FORMATS),
    }


def ready() -> dict[str, Any]:
    """Return the response while every model is ready."""
    state = {"state": "ready", "workers_ready": 1, "workers_configured": 1, "answered": True, "circuits": {"closed": 1}}
    return {"status": "ready", "models": {"starter-classifier": state}, "limits": "local"}


def live() -> dict[str, Any]:
    """Return the response of a live process."""
    return {"status": "live"}


def inferred() -> dict[str, Any]:
    """Return the scores of one image as a tensor."""
    output = {"name": "scores", "datatype": "FP32", "shape": [1, 2], "data": [0.973114, 0.014208]}
    return {"model_name": "starter-classifier", "model_version": "1.0", "outputs": [output]}


def server() -> dict[str, Any]:
    """Return the description of the server."""
    return {"name": "resnest-service", "version": __version__, "extensions": ["binary_tensor_data", "classification"]}


def model_tensors() -> dict[str, Any]:
    """Return the tensors of a classifier."""
    return {
        "name": "starter-classifier",
        "versions": ["1.0"],
        "platform": "pytorch",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 2]}],
    }


def traffic() -> dict[str, Any]:
    """Return a `Traffic` document."""
    shares = {"sticky": "caller", "shares": {"1.0": 0.95, "1.1": 0.05}, "shadow": {"version": "1.2", "share": 0.1}}
    return {"file": "/etc/resnest/traffic.toml", "mistake": None, "models": {_model()["name"]: shares}}


def responses() -> dict[str, dict[str, Any]]:
    """Return an example of every JSON response, by the name of its schema."""
    endpoints = [endpoint for task in TASKS.values() for endpoint in task.endpoints]
    of_tasks = {
        shape.__name__: example
        for endpoint in endpoints
        for shape, example in zip(endpoint.responses, endpoint.examples(), strict=True)
    }
    return of_tasks | {
        "ModelList": models(),
        "ModelDetail": model(),
        "Ready": ready(),
        "Live": live(),
        "InferResponse": inferred(),
        "ServerFacts": server(),
        "ServerLive": {"live": True},
        "ServerReady": {"ready": True},
        "ModelTensors": model_tensors(),
        "Traffic": traffic(),
        "ModelReady": {"name": "starter-classifier", "ready": True},
    }


def _model() -> dict[str, Any]:
    """Return the model of the first task's example."""
    (example, *_) = next(iter(TASKS.values())).endpoints[0].examples()
    named: dict[str, Any] = example["model"]
    return named


def _summary() -> dict[str, Any]:
    return {
        **_model(),
        "summary": "ResNeSt-14 on seven classes of pets and flowers, 160 px.",
        "licence": "Apache-2.0",
        "source": "https://github.com/zhanghang1989/ResNeSt",
        "state": "ready",
        "default": True,
        "share": 1.0,
        "shadow": 0.0,
        "classes": 2,
        "knows": "2 classes: cat, dog",
        "published": {},
        "measured": {},
    }
