"""The service of the demonstration: a worker and a gateway as their own commands, callers, and what one can break."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import tomlkit

from deploy.demo.programs import DEPLOY, await_answer
from service.host.processes import Child, free_ports
from service.measure.load import corpus

MAIN: Final = "starter-classifier"  # asked by all callers, with two worker processes
BROKEN: Final = "second-classifier"  # a copy without callers
START_S: Final = 180.0
SETTINGS: Final = {
    "RESNEST_MAX_IN_FLIGHT": "32",
    "RESNEST_DEFAULT_MODELS": MAIN,
    "RESNEST_ACCESS_LOG": "off",
    "RESNEST_PROBE_INTERVAL_S": "2",
}


@dataclass(frozen=True)
class Plant:
    """A running service: `host:port` of its gateway, the URL of its management API, and the folder of its archives."""

    address: str
    management: str
    archives: Path

    def kill_worker(self, model: str) -> None:
        """Kill one of the model's worker processes by SIGKILL, if it has any."""
        with urllib.request.urlopen(f"{self.management}/models/{model}", timeout=10) as answer:  # noqa: S310
            (described,) = json.load(answer)
        pids = sorted({int(each["pid"]) for each in described["workers"] if each["status"] == "READY"})
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[0], signal.SIGKILL)

    @contextmanager
    def damaged(self, model: str) -> Iterator[None]:
        """Write what is no card in place of a model's card, until the end of the context."""
        card = self.archives / model / "card.toml"
        text = card.read_text(encoding="utf-8")
        card.write_text("not a card", encoding="utf-8")
        try:
            yield
        finally:
            card.write_text(text, encoding="utf-8")

    async def call(
        self, seconds: float, pause_s: float, images: int = 1, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send requests of so many images for some seconds, with a pause after each."""
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        uploads = corpus.make([(240, 180)], per_size=images)
        async with aiohttp.ClientSession() as session:
            while clock() < end:
                form = aiohttp.FormData()
                for each in uploads:
                    form.add_field("image", each.content, filename="a.jpg", content_type=each.media_type)
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.post(self._url, data=form, headers=headers) as answer:
                        await answer.read()
                await asyncio.sleep(pause_s)

    async def call_slowly(self, seconds: float) -> None:
        """Upload one byte a second for some seconds; the gateway ends such an upload after a while."""
        clock = asyncio.get_running_loop().time
        end = clock() + seconds

        async def bytes_of_an_image() -> AsyncIterator[bytes]:
            while clock() < end:
                yield b"\xff"
                await asyncio.sleep(1)

        async with aiohttp.ClientSession() as session:
            while clock() < end:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.post(self._url, data=bytes_of_an_image()) as answer:
                        await answer.read()

    @property
    def _url(self) -> str:
        return f"http://{self.address}/v1/classify"


@contextmanager
def running(folder: Path) -> Iterator[Plant]:
    """Start a worker and a gateway, and yield them when both models are ready."""
    store = folder / "store"
    _write_store(store)
    port, *others = free_ports(4)
    parts = zip(("inference", "management", "metrics"), others, strict=True)
    addresses = {name: f"http://127.0.0.1:{each}" for name, each in parts}
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("RESNEST_", "OTEL_"))}
    environment = {**clean, **SETTINGS, "RESNEST_MODEL_STORE": str(store), "RESNEST_PORT": str(port)}
    environment |= {f"RESNEST_{name.upper()}_URL": addresses[name] for name in ("inference", "management")}
    options = [word for name, address in addresses.items() for word in (f"--{name}-address", address)]
    with ExitStack() as started:
        for command in (["worker", "--folder", str(folder / "worker"), *options], ["gateway"]):
            output = started.enter_context((folder / f"{command[0]}.log").open("wb"))
            child = Child.start([sys.executable, "-m", "service", *command], environment, DEPLOY.parent, output)
            started.callback(child.stop, 60)
        await_answer(f"http://127.0.0.1:{port}/readyz?require=all", START_S)
        yield Plant(f"127.0.0.1:{port}", addresses["management"], folder / "worker/archives")


def _write_store(store: Path) -> None:
    """Write the starter classifier with two workers, and a copy of it under another name."""
    source = DEPLOY.parent / "model_store" / MAIN
    for name, workers in ((MAIN, 2), (BROKEN, 1)):
        shutil.copytree(source, store / name)
        path = store / name / "card.toml"
        card = tomlkit.parse(path.read_text(encoding="utf-8"))
        card["name"] = name
        card["serving"]["workers"] = workers
        path.write_text(tomlkit.dumps(card), encoding="utf-8")
