"""The choices of `benchmarks.costs.choices` that need a real TorchServe: the way to it, and its waiting for company."""

import hashlib
import importlib
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit

from benchmarks.contest.servers.ours_server import NULL_HANDLER, package_with
from benchmarks.costs.choices.__main__ import Choice, Send, Way, answers, lone_ms, rate
from benchmarks.made_models import PUBLISHED, card_text
from service.gateway.backend.http_client import HttpClient
from service.host import torchserve as packaging
from service.host.processes import Child, free_port
from service.host.torchserve import Addresses
from service.models import cards
from service.tasks import frame as envelope

PACED_HANDLER = "benchmarks.costs.choices.paced_handler"
METHOD = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"
DELAYS: Mapping[str, Mapping[str, int]] = {  # TorchServe's; that the product's gateway gathers is not measured here
    "no batches": {"max_batch_delay_ms": 0},
    "1 ms": {"max_batch_delay_ms": 1},
    "2 ms": {"max_batch_delay_ms": 2},
    "4 ms": {"max_batch_delay_ms": 4},
    "8 ms": {"max_batch_delay_ms": 8},
}


@asynccontextmanager
async def torchserve(
    folder: Path, inference: str, models: Mapping[str, Mapping[str, int]], handler: str
) -> AsyncIterator[Addresses]:
    """TorchServe with models of these names, each with what its card says of serving, and where it listens."""
    store = folder / "store"
    served = [_card(store, name, serving) for name, serving in models.items()]
    for card in served:
        package_with(handler, card, store / packaging.ARCHIVES)
    addresses = Addresses(inference, f"unix:{folder / 'management'}", f"http://127.0.0.1:{free_port()}")
    packaging.prepare(folder, served, store / packaging.ARCHIVES, addresses)
    with (folder / "log").open("wb") as log:
        inherited = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}  # its workers load a handler from here
        environment = packaging.environment(folder, served, inherited)
        child = Child.start(packaging.command(folder, os.environ), environment, folder, log)
    door = HttpClient(inference)
    try:
        for name in models:
            await answers(partial(_predict, door, name))
        yield addresses
    finally:
        await door.close()
        child.stop(10)


async def hop(stack: AsyncExitStack, folder: Path) -> list[Choice]:
    """The same null model by three ways; gRPC where grpcio is installed."""
    sends: dict[str, Send] = {}
    for name in ("unix", "tcp"):
        place = folder / name
        place.mkdir()
        inference = f"unix:{place / 'inference'}" if name == "unix" else f"http://127.0.0.1:{free_port()}"
        addresses = await stack.enter_async_context(
            torchserve(place, inference, {"null": {"max_batch_delay_ms": 1}}, NULL_HANDLER)
        )
        door = HttpClient(inference)
        stack.push_async_callback(door.close)
        sends["Unix socket" if name == "unix" else "TCP"] = partial(_predict, door, "null")
    if importlib.util.find_spec("grpc"):
        sends["gRPC over TCP"] = await _grpc(stack, addresses.grpc_inference_port)
    return _choices("hop", sends)


async def delay(stack: AsyncExitStack, folder: Path) -> list[Choice]:
    """One TorchServe with a model for each delay; those that are not asked cost nothing."""
    inference = f"unix:{folder / 'inference'}"
    models = {f"paced-{place}": serving for place, serving in enumerate(DELAYS.values())}
    await stack.enter_async_context(torchserve(folder, inference, models, PACED_HANDLER))
    door = HttpClient(inference)
    stack.push_async_callback(door.close)
    return _choices("delay", {name: partial(_predict, door, model) for name, model in zip(DELAYS, models, strict=True)})


def _choices(what: str, sends: Mapping[str, Send]) -> list[Choice]:
    crowds = [Way(name, partial(rate, send)) for name, send in sends.items()]
    lone = [Way(name, partial(lone_ms, send)) for name, send in sends.items()]
    return [Choice(f"{what}, 16 in flight", "pictures/s", crowds), Choice(f"{what}, alone", "ms", lone)]


def _frame() -> bytes:
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    return envelope.pack({"expires": 1e12}, {"image": picture})


async def _predict(door: HttpClient, model: str, frame: bytes = _frame()) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    _, body = await door.exchange("POST", f"/predictions/{model}", frame, headers)
    _check(body)


def _check(body: bytes) -> None:
    head, _ = envelope.unpack(body)
    if head["ok"] is not True:
        raise RuntimeError(str(head))


async def _grpc(stack: AsyncExitStack, port: int) -> Send:
    """A call by TorchServe's own service, its one message written by hand: no compiled stubs are needed."""
    grpc: Any = importlib.import_module("grpc")
    size = [("grpc.max_receive_message_length", -1)]
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=size))
    call = channel.unary_unary(METHOD)  # bytes in, bytes out
    request = field(1, b"null") + field(3, field(1, b"body") + field(2, _frame()))

    async def send() -> None:
        reply = await call(request)
        _check(content_of(reply))

    return send


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = []
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def content_of(message: bytes) -> bytes:
    """The content of a message's only field."""
    at = 1
    while message[at] & 128:
        at += 1
    return message[at + 1 :]


def _card(store: Path, name: str, serving: Mapping[str, int]) -> cards.ModelCard:
    """The published ResNeSt-50's card under another name, with a weight file that no handler here reads."""
    original = cards.read(PUBLISHED / "resnest50")
    folder = store / name
    (folder / "weights").mkdir(parents=True)
    content = name.encode()
    (folder / "weights" / f"{name}.safetensors").write_bytes(content)
    document: Any = tomlkit.parse(card_text(original, name, hashlib.sha256(content).hexdigest()))
    document["serving"] = {**document.get("serving", {}), "workers": 1, **serving}
    (folder / "card.toml").write_text(tomlkit.dumps(document), encoding="utf-8")
    labels = store / cards.LABEL_SETS if original.labels.set else folder
    labels.mkdir(parents=True, exist_ok=True)
    (labels / original.labels_path.name).write_bytes(original.labels_path.read_bytes())
    return cards.read(folder)
