"""`resnest-service run`: starts, supervises, restarts and stops TorchServe and the gateway as one process tree."""

import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from service.config.environment import read as read_settings
from service.config.logs import Logs
from service.host import health, host_checks, torchserve
from service.host.gateways import SHARED, GatewayError, GatewayProcesses
from service.host.processes import Child, StopSignal, ending, free_ports, stop_signals
from service.host.run_folders import short_folder
from service.host.run_options import RunOptions, StartError, require_free_port, require_keys, require_traffic
from service.host.served_models import default_models, ready_lines, roster
from service.host.served_models.control import Control
from service.host.served_models.packaging import Packaged, own_archives, package_all
from service.host.served_models.reload import Reload, ReloadError, Steps, Tree
from service.host.served_models.selection import select
from service.host.served_models.served import ServedModels
from service.host.torchserve_log import TorchServeLog
from service.models import model_order
from service.models.cards import ModelCard
from service.tasks import shared_image

log = logging.getLogger(__name__)

TICK_S = 0.2
CHECK_INTERVAL_S = 2.0  # between two checks of the workers
RESTARTS = 3  # of TorchServe in a row, during which no model ever has a ready worker
STOP_TORCHSERVE_S = 15.0  # measured: 2.4 s
FORM = "RESNEST_LOG_FORMAT"

Say = Callable[[str], None]


def run(options: RunOptions, say: Say, logs: Logs | None = None) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP. Raises `StartError`, `CardError`, `KeysError`, `TrafficError`."""
    started = time.monotonic()
    require_keys(options)
    for line in model_order.record(options.store):
        say(f"In the store {options.store}: {line}")
    selection = select(options.store, options.models)
    selection.tell(say)
    models = selection.cards
    require_traffic(options, models)
    require_free_port(options.host, options.port)
    with (
        stop_signals() as stop_signal,
        short_folder(tempfile.gettempdir()) as folder,
        own_archives(options.store, folder, say) as archives,
    ):
        say(f"Packaging {', '.join(f'{card.name} {card.version}' for card in models)}")
        packaged = package_all(models, archives, say, strict=options.strict)
        packaged.unreadable = frozenset(selection.unreadable)
        for line in default_models.changes(models, [*packaged.loaded, *packaged.refused], options.default_models):
            say(line)
        tree = ProcessTree(options, packaged, folder, stop_signal, say, os.environ, logs)
        try:
            tree.start()
            if tree.wait_until_ready():
                say(f"READY after {time.monotonic() - started:.1f} s: {options.address}")
                say(f"  {ready_lines.example(options, tree.models)}")
                say(f"  In a browser: {options.address}/")
                for line in ready_lines.known(tree.models):
                    say(f"  {line}")
                tree.watch()
        finally:
            tree.stop()


class ProcessTree:
    """TorchServe and the gateway processes, which run in `folder`."""

    def __init__(
        self,
        options: RunOptions,
        packaged: Packaged,
        folder: Path,
        stop_signal: StopSignal,
        say: Say,
        environment: Mapping[str, str],
        logs: Logs | None = None,
    ) -> None:
        """Serve the packaged models. The gateway tells callers of the refused ones that these were left out."""
        self._options = options
        self._folder = folder
        self._stop_signal = stop_signal
        self._say = say
        self._environment = environment
        self._logs = logs
        self._log = TorchServeLog(folder / "torchserve.log")
        metrics, *grpc = free_ports(3, excluding=(options.port,))
        self._addresses = torchserve.Addresses(
            f"unix:{folder / 'inference'}",
            f"unix:{folder / 'management'}",
            f"http://127.0.0.1:{metrics}",
            *grpc,
        )
        self._served = ServedModels(packaged, folder, self._addresses.management)
        self._control: Control | None = None
        self._reload: Steps | None = None
        self._starts = 0  # of TorchServe
        self._torchserve: Child | None = None
        self._gateways: GatewayProcesses | None = None
        self._restarts = 0
        self._unready: list[str] = []  # models that had no ready worker at the last check

    @property
    def models(self) -> list[ModelCard]:
        """The models that are at TorchServe."""
        return self._served.loaded

    def start(self) -> None:
        """Start all processes, without waiting for any."""
        workers, gateways = sum(card.serving.workers for card in self.models), self._options.gateway_workers
        processes = f"{gateways} gateway processes" if gateways > 1 else "the gateway"
        if warning := host_checks.java(self._environment)[1]:
            log.warning("%s", warning)
        self._say(f"Starting TorchServe with {workers} worker{'s' * (workers > 1)}, and {processes}")
        self._served.roster.write(self._served.listed)
        self._torchserve = self._start_torchserve()
        environment = {**self._environment, **self._settings()}
        self._gateways = GatewayProcesses(gateways, self._folder / SHARED, environment, self._folder)
        self._gateways.start()

    def wait_until_ready(self) -> bool:
        """Wait until every model can answer; return False if a signal came first.

        After `start_timeout_s` go on with the models that can answer, unless strict. Raises `StartError` if none can.
        """
        deadline = time.monotonic() + self._options.start_timeout_s
        while not self._stop_signal.to_stop.wait(TICK_S):
            self._follow_logs()
            if self._log.load_failure:
                self._leave_out(self._log.load_failure)
            for name, child in (("TorchServe", self._torchserve), ("the gateway", self._gateways)):
                if child and child.exit_code is not None:
                    raise StartError(f"{name} ended with code {child.exit_code} while starting{self._log.last_error}")
            left_out = [card.name for card in self._served.refused]
            reason = health.reasons_of_gateway(self._options.address, left_out)
            if not reason:
                return True
            if time.monotonic() > deadline:
                waited = f"not ready after {self._options.start_timeout_s:g} s: {reason}{self._log.last_error}"
                if self._options.strict or not health.gateway_is_ready(self._options.address, "any"):
                    raise StartError(waited)
                self._say(f"Going on without a model, which TorchServe goes on starting: {waited}")
                return True
        return False

    def watch(self) -> None:
        """Restart gateways that end, and TorchServe if it ends or has no ready worker. Return when asked to stop.

        A model that fails alone is no reason: TorchServe goes on starting its workers, and the others are served.
        Meanwhile, reload the models whenever an operator asks for it. Raises `StartError` if restarts do not help.
        """
        self._control = Control(self._folder, self._options.store, self._options.address, self._say)
        checked_at = ready_at = time.monotonic()
        while not self._stop_signal.to_stop.wait(TICK_S):
            self._follow_logs()
            self._restart_gateways()
            self._reload_models(self._control)
            if time.monotonic() - checked_at > CHECK_INTERVAL_S:
                checked_at = time.monotonic()
                if self._any_model_is_ready():
                    ready_at, self._restarts = checked_at, 0
            if self._has_ended() or time.monotonic() - ready_at > self._options.start_timeout_s:
                self._restart_torchserve()
                ready_at = time.monotonic()

    def stop(self) -> None:
        """Stop the gateways, which finish their requests first, then TorchServe; a second signal skips the waits."""
        hurry, begun = self._stop_signal.to_hurry.is_set, time.monotonic()
        if self._control:
            self._control.close()
        if self._gateways:
            self._say("Stopping")
            self._gateways.stop(read_settings().shutdown_timeout_s, hurry)
            shared_image.remove_abandoned(shared_image.folder(self._environment))  # of gateways that were killed
        if self._torchserve:
            self._torchserve.stop(STOP_TORCHSERVE_S, hurry)
            self._say(f"Stopped after {time.monotonic() - begun:.1f} s")

    def _reload_models(self, control: Control) -> None:
        """Go on with the reload in progress, or begin the next one. One that fails changes nothing."""
        request = control.poll()
        if request is not None:
            self._log.load_failure = ""
            tree = Tree(self._gateway_pids, lambda: self._starts, lambda: self._log.load_failure)
            self._reload = Reload(request, self._served, tree, self._options, control.say).steps()
        if self._reload is None:
            return
        try:
            next(self._reload)
            return
        except StopIteration:
            control.finish()
        except Exception as error:  # whatever goes wrong here, the service goes on
            if not isinstance(error, ReloadError):
                log.exception("the reload of the models has ended early")
            control.finish(str(error))
        self._reload = None

    def _gateway_pids(self) -> list[int]:
        return self._gateways.pids if self._gateways else []

    def _follow_logs(self) -> None:
        self._log.read()
        if self._logs:
            self._logs.follow()

    def _leave_out(self, reason: str) -> None:
        """Go on without the model that a worker cannot load. Raises `StartError` if no other is left, or if strict."""
        failed = [card for card in self.models if reason.startswith(f"{card.name}: ")]
        if self._options.strict or not failed or len(self.models) == 1:
            raise StartError(reason)
        log.error("Leaving out a model: %s", reason)
        before = self._served.shown
        self._served.leave_out(failed)
        self._served.roster.write(self._served.listed)
        for line in default_models.changes(before, self._served.shown, self._options.default_models):
            log.error("%s", line)
        self._log.load_failure = ""
        if self._torchserve:
            self._torchserve.stop(STOP_TORCHSERVE_S, self._stop_signal.to_hurry.is_set)
        self._torchserve = self._start_torchserve()

    def _restart_gateways(self) -> None:
        try:
            if self._gateways:
                self._gateways.restart_ended()
        except GatewayError as error:
            raise StartError(str(error)) from error

    def _any_model_is_ready(self) -> bool:
        """Return whether any model has a ready worker, and log which models have none any more, or again one."""
        names = self._served.server_names()
        unready = health.unready_models(self._addresses.management, names)
        if len(unready) == len(names):
            return False
        for name in sorted({*unready} - {*self._unready}):
            log.warning("%s has no ready worker process; other models are served", name)
        for name in sorted({*self._unready} - {*unready}):
            log.info("%s has a ready worker process again", name)
        self._unready = unready
        return True

    def _has_ended(self) -> bool:
        return self._torchserve is not None and self._torchserve.exit_code is not None

    def _restart_torchserve(self) -> None:
        if self._restarts == RESTARTS:
            raise StartError(f"TorchServe is still not ready after {RESTARTS} restarts{self._log.last_error}")
        self._restarts += 1
        if self._torchserve:
            why = "No model has had a ready worker for too long"
            if self._has_ended():
                why = f"TorchServe {ending(self._torchserve.exit_code)}"
            log.warning("%s; restarting TorchServe", why)
            self._torchserve.stop(STOP_TORCHSERVE_S, self._stop_signal.to_hurry.is_set)
        self._torchserve = self._start_torchserve()

    def _settings(self) -> dict[str, str]:
        """Return the variables that the gateways get in addition to the environment of this process."""
        settings = {
            # So glibc returns the memory of large images. Measured after four images of 50 megapixels: 0.12 GB stay
            # allocated, not 2 GB.
            "MALLOC_MMAP_THRESHOLD_": "1048576",
            "RESNEST_MODEL_STORE": str(self._options.store.resolve()),
            "RESNEST_MODELS": "",  # the list of the roster applies
            roster.VARIABLE: str(self._served.roster.path),
            "RESNEST_DEFAULT_MODELS": ",".join(self._options.default_models),
            "RESNEST_INFERENCE_URL": self._addresses.inference,
            "RESNEST_MANAGEMENT_URL": self._addresses.management,
            "RESNEST_HOST": self._options.host,
            "RESNEST_PORT": str(self._options.port),
            "RESNEST_ALLOW_NO_KEYS": str(self._options.allow_no_keys),
            "RESNEST_CORS_ORIGINS": ",".join(self._options.cors_origins),
            "RESNEST_GATEWAY_WORKERS": str(self._options.gateway_workers),
        }
        files = {"RESNEST_KEYS_FILE": self._options.keys_file, "RESNEST_TRAFFIC_FILE": self._options.traffic_file}
        return settings | {name: str(file.resolve()) for name, file in files.items() if file}

    def _start_torchserve(self) -> Child:
        self._starts += 1
        archives = self._served.archives
        torchserve.prepare(self._folder, self.models, archives, self._addresses, takes_models=True)
        for address in (self._addresses.inference, self._addresses.management):
            Path(address.removeprefix("unix:")).unlink(missing_ok=True)
        # In JSON, whatever the form of this log: `TorchServeLog` reads the lines.
        environment = torchserve.environment(self._folder, self.models, {**self._environment, FORM: "json"})
        with self._log.path.open("ab") as output:
            return Child.start(torchserve.command(self._folder, self._environment), environment, self._folder, output)
