"""`resnest-service run`: TorchServe and the gateway as one process tree, that starts, recovers and ends as one."""

import os
import shlex
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.config import traffic
from service.config.api_keys import check_exposure
from service.host import health, torchserve
from service.host.gateways import SHARED, GatewayError, GatewayProcesses
from service.host.processes import Child, free_ports
from service.host.run_folders import short_folder
from service.host.signals import StopSignal, signals
from service.host.torchserve_log import TorchServeLog
from service.models import cards
from service.models.cards import CardError, ModelCard

TICK_S = 0.2
LOOK_S = 2.0  # between two looks at the workers
RESTARTS = 3  # of TorchServe without a moment of readiness between them, or of all workers' where it gave up on some
STOP_GATEWAY_S = 45.0  # its requests in flight have 30 s
STOP_TORCHSERVE_S = 15.0  # seen: 2.4 s
EXAMPLE = "example.jpg"  # in the model store

Say = Callable[[str], None]


class StartError(RuntimeError):
    """The service cannot start, or not go on; the message is one sentence for the operator."""


@dataclass(frozen=True)
class RunOptions:
    """What to serve and where; no `models` means all that have their weights.

    A model may be without a ready worker for `start_timeout_s`: then a start has failed, and a running TorchServe is
    started again, because 300 s after a worker's death it gives up on it for good.
    """

    store: Path
    models: tuple[str, ...] = ()
    default_models: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    keys_file: Path | None = None
    allow_no_keys: bool = False
    traffic_file: Path | None = None
    start_timeout_s: float = 180.0
    gateway_workers: int = 1

    @property
    def address(self) -> str:
        """The gateway's address as a client on this host writes it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - a name, not a bind
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def run(options: RunOptions, say: Say) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP. Raises `StartError`, `CardError`, `KeysError`, `TrafficError`."""
    started = time.monotonic()
    require_keys(options)
    models = chosen(options, say)
    require_traffic(options, models)
    require_free_port(options.host, options.port)
    with signals() as asked, short_folder(tempfile.gettempdir()) as folder:
        say(f"Packaging {', '.join(f'{card.name} {card.version}' for card in models)}")
        for card in models:
            torchserve.package(card, _archives(options))
        tree = ProcessTree(options, models, folder, asked, say, os.environ)
        try:
            tree.start()
            if tree.wait_until_ready():
                say(f"READY after {time.monotonic() - started:.1f} s: {options.address}")
                say(f"  {example(options, models)}")
                tree.watch()
        finally:
            tree.stop()


def chosen(options: RunOptions, say: Say) -> list[ModelCard]:
    """The models to serve. Raises `CardError` for an unknown name, or where weights that are needed are missing."""
    zoo = cards.stocked(options.store)
    named = {name: cards.find(zoo, name) for name in options.models}
    if None in named.values():
        unknown = ", ".join(sorted(name for name, card in named.items() if card is None))
        raise CardError(f"no model is named {unknown}; there are {', '.join(zoo)}")
    if named:
        return list({card.name: card for card in named.values() if card is not None}.values())
    ours = [card for card in zoo.values() if card.is_default]
    present = [card for card in ours if card.weights_path.is_file()]
    missing = [card for card in ours if not card.weights_path.is_file()]
    if not present:
        where = ", ".join(str(card.weights_path) for card in missing) or f"{options.store.resolve()}/*/weights"
        raise CardError(f"no model has its weights: {where} missing")
    for card in missing:
        say(f"Leaving out {card.name}: its weights {card.weights_path} are missing")
    return present


def require_keys(options: RunOptions) -> None:
    """Raise `KeysError` where everybody beyond this machine would be let in, and nobody said that they may."""
    told = [os.environ.get(name, "").strip() for name in ("RESNEST_KEYS", "RESNEST_JWT_KEYS")]
    asked = bool(options.keys_file or any(told))
    check_exposure(options.host, protected=asked, waived=options.allow_no_keys)


def require_traffic(options: RunOptions, models: Sequence[ModelCard]) -> None:
    """Raise `TrafficError` where the traffic file cannot be used with these models."""
    if options.traffic_file:
        traffic.read(options.traffic_file, models)


def require_free_port(host: str, port: int) -> None:
    """Raise `StartError` where nothing can listen on this address."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise StartError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another with --port"
        ) from error


class ProcessTree:
    """TorchServe and the gateway, in a folder of their own."""

    def __init__(
        self,
        options: RunOptions,
        models: Sequence[ModelCard],
        folder: Path,
        asked: StopSignal,
        say: Say,
        environment: Mapping[str, str],
    ) -> None:
        self._options = options
        self._models = models
        self._folder = folder
        self._asked = asked
        self._say = say
        self._environment = environment
        self._log = TorchServeLog(folder / "torchserve.log")
        metrics, *grpc = free_ports(3, besides=(options.port,))
        self._addresses = torchserve.Addresses(
            f"unix:{folder / 'inference'}",
            f"unix:{folder / 'management'}",
            f"http://127.0.0.1:{metrics}",
            *grpc,
        )
        self._torchserve: Child | None = None
        self._gateways: GatewayProcesses | None = None
        self._restarts = 0
        self._rescues = 0

    def start(self) -> None:
        """Start all; none waits for another."""
        workers, gateways = sum(card.serving.workers for card in self._models), self._options.gateway_workers
        doors = f"{gateways} gateway processes" if gateways > 1 else "the gateway"
        self._say(f"Starting TorchServe with {workers} worker{'s' * (workers > 1)}, and {doors}")
        torchserve.prepare(self._folder, self._models, _archives(self._options), self._addresses)
        self._torchserve = self._start_torchserve()
        environment = {**self._environment, **self._settings()}
        self._gateways = GatewayProcesses(gateways, self._folder / SHARED, environment, self._folder, self._say)
        self._gateways.start()

    def wait_until_ready(self) -> bool:
        """Whether every model can answer; False where a signal came first. Raises `StartError`."""
        deadline = time.monotonic() + self._options.start_timeout_s
        while not self._asked.to_stop.wait(TICK_S):
            self._log.read(self._say)
            if self._log.reason:
                raise StartError(self._log.reason)
            for name, child in (("TorchServe", self._torchserve), ("the gateway", self._gateways)):
                if child and child.code is not None:
                    raise StartError(f"{name} ended with code {child.code} while starting{self._log.last_words}")
            if health.gateway_is_ready(self._options.address):
                return True
            if time.monotonic() > deadline:
                raise StartError(f"not ready after {self._options.start_timeout_s:g} s{self._log.last_words}")
        return False

    def watch(self) -> None:
        """Return when asked to stop; start again gateways that end, and TorchServe, also when it gives a worker up.

        Raises `StartError` where that does not help.
        """
        looked_at = ready_at = time.monotonic()
        while not self._asked.to_stop.wait(TICK_S):
            self._log.read(self._say)
            self._look_at_gateways()
            gave_up = False
            if time.monotonic() - looked_at > LOOK_S:
                looked_at = time.monotonic()
                ready, gave_up = self._look()
                if ready:
                    ready_at, self._restarts = looked_at, 0
            if self._gone() or gave_up or time.monotonic() - ready_at > self._options.start_timeout_s:
                self._restart(gave_up=gave_up)
                ready_at = time.monotonic()

    def stop(self) -> None:
        """End the gateways, which finish their requests first, then TorchServe; a second signal hurries all."""
        hurry = self._asked.to_hurry.is_set
        if self._gateways:
            self._say("Stopping")
            self._gateways.stop(STOP_GATEWAY_S, hurry)
        if self._torchserve:
            self._torchserve.stop(STOP_TORCHSERVE_S, hurry)

    def _look_at_gateways(self) -> None:
        try:
            if self._gateways:
                self._gateways.look()
        except GatewayError as error:
            raise StartError(str(error)) from error

    def _look(self) -> tuple[bool, bool]:
        """Whether every model has a ready worker, and whether one has had another given up on and may get it back."""
        names = [card.name for card in self._models]
        if health.waiting_models(self._addresses.management, names):
            return False, False
        if not health.has_given_up(self._addresses.inference):
            if not health.waiting_models(self._addresses.management, names, whole=True):
                self._rescues = 0
            return True, False
        if self._rescues == RESTARTS:
            return True, False  # fewer workers are better than a new start every few minutes
        self._rescues += 1
        return True, True

    def _gone(self) -> bool:
        return self._torchserve is not None and self._torchserve.code is not None

    def _restart(self, *, gave_up: bool) -> None:
        if self._restarts == RESTARTS:
            raise StartError(f"TorchServe does not come back after {RESTARTS} new starts{self._log.last_words}")
        self._restarts += 1
        if self._torchserve:
            why = "TorchServe ended" if self._gone() else "A model has had no ready worker for too long"
            self._say(f"{'TorchServe has given a worker up' if gave_up else why}; starting TorchServe again")
            self._torchserve.stop(STOP_TORCHSERVE_S, self._asked.to_hurry.is_set)
        self._torchserve = self._start_torchserve()

    def _settings(self) -> dict[str, str]:
        """What the gateways are told beyond the environment of this process."""
        settings = {
            # glibc then gives back large pictures' memory: 0.12 GB is left of four of 50 megapixels, not 2, measured.
            "MALLOC_MMAP_THRESHOLD_": "1048576",
            "RESNEST_MODEL_STORE": str(self._options.store.resolve()),
            "RESNEST_MODELS": ",".join(card.name for card in self._models),
            "RESNEST_DEFAULT_MODELS": ",".join(self._options.default_models),
            "RESNEST_INFERENCE_URL": self._addresses.inference,
            "RESNEST_MANAGEMENT_URL": self._addresses.management,
            "RESNEST_HOST": self._options.host,
            "RESNEST_PORT": str(self._options.port),
            "RESNEST_ALLOW_NO_KEYS": str(self._options.allow_no_keys),
            "RESNEST_GATEWAY_WORKERS": str(self._options.gateway_workers),
        }
        files = {"RESNEST_KEYS_FILE": self._options.keys_file, "RESNEST_TRAFFIC_FILE": self._options.traffic_file}
        return settings | {name: str(file.resolve()) for name, file in files.items() if file}

    def _start_torchserve(self) -> Child:
        for address in (self._addresses.inference, self._addresses.management):
            Path(address.removeprefix("unix:")).unlink(missing_ok=True)
        environment = torchserve.environment(self._folder, self._models, self._environment)
        with self._log.path.open("ab") as output:
            return Child.start(torchserve.command(self._folder, self._environment), environment, self._folder, output)


def _archives(options: RunOptions) -> Path:
    return options.store / torchserve.ARCHIVES


def example(options: RunOptions, models: Sequence[ModelCard]) -> str:
    """A command line for a first request, with the store's own picture where there is one."""
    route = "/v1/classify" if any(card.task == "classification" for card in models) else "/v1/segment"
    picture = options.store.resolve() / EXAMPLE
    return shlex.join(["curl", "-F", f"file=@{picture if picture.is_file() else 'photo.jpg'}", options.address + route])
