"""`resnest-service run`: starts, supervises, restarts and stops TorchServe and the gateway as one process tree."""

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
from service.host.processes import Child, StopSignal, free_ports, stop_signals
from service.host.run_folders import short_folder
from service.host.torchserve_log import TorchServeLog
from service.models import cards
from service.models.cards import CardError, ModelCard
from service.tasks import TASKS

TICK_S = 0.2
CHECK_INTERVAL_S = 2.0  # between two checks of the workers
# Restarts of TorchServe in a row during which it is never ready; also restarts because it gave up on a worker.
RESTARTS = 3
STOP_GATEWAY_S = 45.0  # its requests in flight have 30 s
STOP_TORCHSERVE_S = 15.0  # measured: 2.4 s
EXAMPLE = "example.jpg"  # in the model store

Say = Callable[[str], None]


class StartError(RuntimeError):
    """The service cannot start or cannot continue. The message is one sentence for the operator."""


@dataclass(frozen=True)
class RunOptions:
    """What to serve and where. Without `models`, all models that have their weights are served.

    If a model has no ready worker for `start_timeout_s`, a start has failed, and a running TorchServe is restarted.
    Without that, TorchServe would give up on a worker for good 300 s after its death.
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
        """The gateway's URL for a client on this host."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def run(options: RunOptions, say: Say) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP. Raises `StartError`, `CardError`, `KeysError`, `TrafficError`."""
    started = time.monotonic()
    require_keys(options)
    models = select_models(options, say)
    require_traffic(options, models)
    require_free_port(options.host, options.port)
    with stop_signals() as stop_signal, short_folder(tempfile.gettempdir()) as folder:
        say(f"Packaging {', '.join(f'{card.name} {card.version}' for card in models)}")
        for card in models:
            torchserve.package(card, _archives(options))
        tree = ProcessTree(options, models, folder, stop_signal, say, os.environ)
        try:
            tree.start()
            if tree.wait_until_ready():
                say(f"READY after {time.monotonic() - started:.1f} s: {options.address}")
                say(f"  {example(options, models)}")
                tree.watch()
        finally:
            tree.stop()


def select_models(options: RunOptions, say: Say) -> list[ModelCard]:
    """Return the models to serve. Raises `CardError` for an unknown name, or if no default model has its weights."""
    zoo = cards.read_nonempty_zoo(options.store)
    named = {name: cards.find(zoo, name) for name in options.models}
    if None in named.values():
        unknown = ", ".join(sorted(name for name, card in named.items() if card is None))
        raise CardError(f"no model is named {unknown}; there are {', '.join(zoo)}")
    if named:
        return list({card.name: card for card in named.values() if card is not None}.values())
    defaults = [card for card in zoo.values() if card.is_default]
    present = [card for card in defaults if card.weights_path.is_file()]
    missing = [card for card in defaults if not card.weights_path.is_file()]
    if not present:
        where = ", ".join(str(card.weights_path) for card in missing) or f"{options.store.resolve()}/*/weights"
        raise CardError(f"no model has its weights: {where} missing")
    for card in missing:
        say(f"Leaving out {card.name}: its weights {card.weights_path} are missing")
    return present


def require_keys(options: RunOptions) -> None:
    """Raise `KeysError` if other machines could connect without a key and the operator did not allow it."""
    settings = [os.environ.get(name, "").strip() for name in ("RESNEST_KEYS", "RESNEST_JWT_KEYS")]
    protected = bool(options.keys_file or any(settings))
    check_exposure(options.host, protected=protected, waived=options.allow_no_keys)


def require_traffic(options: RunOptions, models: Sequence[ModelCard]) -> None:
    """Raise `TrafficError` if the traffic file cannot be used with these models."""
    if options.traffic_file:
        traffic.read(options.traffic_file, models)


def require_free_port(host: str, port: int) -> None:
    """Raise `StartError` if no socket can listen on this address."""
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
    """TorchServe and the gateway processes, which run in `folder`."""

    def __init__(
        self,
        options: RunOptions,
        models: Sequence[ModelCard],
        folder: Path,
        stop_signal: StopSignal,
        say: Say,
        environment: Mapping[str, str],
    ) -> None:
        self._options = options
        self._models = models
        self._folder = folder
        self._stop_signal = stop_signal
        self._say = say
        self._environment = environment
        self._log = TorchServeLog(folder / "torchserve.log")
        metrics, *grpc = free_ports(3, excluding=(options.port,))
        self._addresses = torchserve.Addresses(
            f"unix:{folder / 'inference'}",
            f"unix:{folder / 'management'}",
            f"http://127.0.0.1:{metrics}",
            *grpc,
        )
        self._torchserve: Child | None = None
        self._gateways: GatewayProcesses | None = None
        self._restarts = 0
        self._restarts_for_workers = 0

    def start(self) -> None:
        """Start all processes, without waiting for any."""
        workers, gateways = sum(card.serving.workers for card in self._models), self._options.gateway_workers
        processes = f"{gateways} gateway processes" if gateways > 1 else "the gateway"
        self._say(f"Starting TorchServe with {workers} worker{'s' * (workers > 1)}, and {processes}")
        torchserve.prepare(self._folder, self._models, _archives(self._options), self._addresses)
        self._torchserve = self._start_torchserve()
        environment = {**self._environment, **self._settings()}
        self._gateways = GatewayProcesses(gateways, self._folder / SHARED, environment, self._folder, self._say)
        self._gateways.start()

    def wait_until_ready(self) -> bool:
        """Wait until every model can answer; return False if a signal came first. Raises `StartError`."""
        deadline = time.monotonic() + self._options.start_timeout_s
        while not self._stop_signal.to_stop.wait(TICK_S):
            self._log.read(self._say)
            if self._log.load_failure:
                raise StartError(self._log.load_failure)
            for name, child in (("TorchServe", self._torchserve), ("the gateway", self._gateways)):
                if child and child.exit_code is not None:
                    raise StartError(f"{name} ended with code {child.exit_code} while starting{self._log.last_error}")
            if health.gateway_is_ready(self._options.address):
                return True
            if time.monotonic() > deadline:
                raise StartError(f"not ready after {self._options.start_timeout_s:g} s{self._log.last_error}")
        return False

    def watch(self) -> None:
        """Restart gateways that end, and TorchServe if it ends or gives up on a worker. Return when asked to stop.

        Raises `StartError` if restarts do not help.
        """
        checked_at = ready_at = time.monotonic()
        while not self._stop_signal.to_stop.wait(TICK_S):
            self._log.read(self._say)
            self._restart_gateways()
            gave_up = False
            if time.monotonic() - checked_at > CHECK_INTERVAL_S:
                checked_at = time.monotonic()
                ready, gave_up = self._check_workers()
                if ready:
                    ready_at, self._restarts = checked_at, 0
            if self._has_ended() or gave_up or time.monotonic() - ready_at > self._options.start_timeout_s:
                self._restart_torchserve(gave_up=gave_up)
                ready_at = time.monotonic()

    def stop(self) -> None:
        """Stop the gateways, which finish their requests first, then TorchServe; a second signal skips the waits."""
        hurry = self._stop_signal.to_hurry.is_set
        if self._gateways:
            self._say("Stopping")
            self._gateways.stop(STOP_GATEWAY_S, hurry)
        if self._torchserve:
            self._torchserve.stop(STOP_TORCHSERVE_S, hurry)

    def _restart_gateways(self) -> None:
        try:
            if self._gateways:
                self._gateways.restart_ended()
        except GatewayError as error:
            raise StartError(str(error)) from error

    def _check_workers(self) -> tuple[bool, bool]:
        """Return whether every model has a ready worker, and whether a restart should bring back a given-up worker."""
        names = [card.name for card in self._models]
        if health.unready_models(self._addresses.management, names):
            return False, False
        if not health.has_given_up(self._addresses.inference):
            if not health.unready_models(self._addresses.management, names, whole=True):
                self._restarts_for_workers = 0
            return True, False
        if self._restarts_for_workers == RESTARTS:
            return True, False  # fewer workers are better than a restart every few minutes
        self._restarts_for_workers += 1
        return True, True

    def _has_ended(self) -> bool:
        return self._torchserve is not None and self._torchserve.exit_code is not None

    def _restart_torchserve(self, *, gave_up: bool) -> None:
        if self._restarts == RESTARTS:
            raise StartError(f"TorchServe is still not ready after {RESTARTS} restarts{self._log.last_error}")
        self._restarts += 1
        if self._torchserve:
            why = "TorchServe ended" if self._has_ended() else "A model has had no ready worker for too long"
            self._say(f"{'TorchServe gave up on a worker' if gave_up else why}; restarting TorchServe")
            self._torchserve.stop(STOP_TORCHSERVE_S, self._stop_signal.to_hurry.is_set)
        self._torchserve = self._start_torchserve()

    def _settings(self) -> dict[str, str]:
        """Return the variables that the gateways get in addition to the environment of this process."""
        settings = {
            # So glibc returns the memory of large images. Measured after four images of 50 megapixels: 0.12 GB stay
            # allocated, not 2 GB.
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
    """Return a command line for a first request, with the store's example image if there is one."""
    route = next(task for task in TASKS.values() if any(card.task == task.name for card in models)).endpoints[0].path
    image = options.store.resolve() / EXAMPLE
    return shlex.join(["curl", "-F", f"file=@{image if image.is_file() else 'photo.jpg'}", options.address + route])
