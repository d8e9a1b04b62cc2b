"""The choices of `benchmarks.costs.choices` that need a real TorchServe: its transport and its batching delay."""

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

from benchmarks.costs.choices.base import Alternative, Choice, Send, lone_ms, rate, wait_until_answering
from benchmarks.made_models import PUBLISHED, card_text
from service.gateway.backend.http_client import HttpClient
from service.host import torchserve as host
from service.host.processes import Child, free_port
from service.host.served_models import model_archive
from service.host.torchserve import Addresses
from service.models import cards
from service.tasks import frame
from tests.null_model import service as null_service

PACED_HANDLER = "benchmarks.costs.choices.paced_handler"
METHOD = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"
# TorchServe's own batching. The product batches in the gateway instead, which is not measured here.
DELAYS: Mapping[str, Mapping[str, int]] = {
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
    """Run TorchServe with models of these names and these values in `[serving]`, and yield its addresses."""
    store = folder / "store"
    served = [_card(store, name, serving) for name, serving in models.items()]
    for card in served:
        null_service.package_with(handler, card, store / model_archive.ARCHIVES)
    addresses = Addresses(inference, f"unix:{folder / 'management'}", f"http://127.0.0.1:{free_port()}")
    host.prepare(folder, served, store / model_archive.ARCHIVES, addresses)
    with (folder / "log").open("wb") as log:
        inherited = {**os.environ, "PYTHONPATH": str(null_service.ROOT)}  # the workers import the handler from here
        environment = host.environment(folder, served, inherited)
        child = Child.start(host.command(folder, os.environ), environment, folder, log)
    client = HttpClient(inference)
    try:
        for name in models:
            await wait_until_answering(partial(_predict, client, name))
        yield addresses
    finally:
        await client.close()
        child.stop(10)


async def hop(stack: AsyncExitStack, folder: Path) -> list[Choice]:
    """Compare three transports to the null model. gRPC is measured only if grpcio is installed."""
    sends: dict[str, Send] = {}
    for name in ("unix", "tcp"):
        subfolder = folder / name
        subfolder.mkdir()
        inference = f"unix:{subfolder / 'inference'}" if name == "unix" else f"http://127.0.0.1:{free_port()}"
        addresses = await stack.enter_async_context(
            torchserve(subfolder, inference, {"null": {"max_batch_delay_ms": 1}}, null_service.HANDLER)
        )
        client = HttpClient(inference)
        stack.push_async_callback(client.close)
        sends["Unix socket" if name == "unix" else "TCP"] = partial(_predict, client, "null")
    if importlib.util.find_spec("grpc"):
        sends["gRPC over TCP"] = await _grpc(stack, addresses.grpc_inference_port)
    return _choices("hop", sends)


async def delay(stack: AsyncExitStack, folder: Path) -> list[Choice]:
    """Compare batching delays: one TorchServe has a model for each, and idle models cost nothing."""
    inference = f"unix:{folder / 'inference'}"
    models = {f"paced-{index}": serving for index, serving in enumerate(DELAYS.values())}
    await stack.enter_async_context(torchserve(folder, inference, models, PACED_HANDLER))
    client = HttpClient(inference)
    stack.push_async_callback(client.close)
    sends = {name: partial(_predict, client, model) for name, model in zip(DELAYS, models, strict=True)}
    return _choices("delay", sends)


def _choices(what: str, sends: Mapping[str, Send]) -> list[Choice]:
    concurrent = [Alternative(name, partial(rate, send)) for name, send in sends.items()]
    lone = [Alternative(name, partial(lone_ms, send)) for name, send in sends.items()]
    return [Choice(f"{what}, 16 in flight", "images/s", concurrent), Choice(f"{what}, alone", "ms", lone)]


def _image_frame() -> bytes:
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    return frame.pack({"expires": 1e12}, {"image": image})


async def _predict(client: HttpClient, model: str, body: bytes = _image_frame()) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    _, answer = await client.exchange("POST", f"/predictions/{model}", body, headers)
    _check(answer)


def _check(body: bytes) -> None:
    head, _ = frame.unpack(body)
    if head["ok"] is not True:
        raise RuntimeError(str(head))


async def _grpc(stack: AsyncExitStack, port: int) -> Send:
    """Return a call of TorchServe's gRPC service. The message is encoded by hand, so that no stubs are compiled."""
    grpc: Any = importlib.import_module("grpc")
    size = [("grpc.max_receive_message_length", -1)]
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=size))
    call = channel.unary_unary(METHOD)  # bytes in, bytes out
    request = field(1, b"null") + field(3, field(1, b"body") + field(2, _image_frame()))

    async def send() -> None:
        reply = await call(request)
        _check(content_of(reply))

    return send


def field(number: int, content: bytes) -> bytes:
    """Encode a length-delimited field of a protocol buffer."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = []
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def content_of(message: bytes) -> bytes:
    """Return the content of the only field of a message."""
    at = 1
    while message[at] & 128:
        at += 1
    return message[at + 1 :]


def _card(store: Path, name: str, serving: Mapping[str, int]) -> cards.ModelCard:
    """Write the published card of ResNeSt-50 under another name, with a weight file that these handlers never read."""
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
