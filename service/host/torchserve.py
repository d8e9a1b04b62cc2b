"""Makes TorchServe's configuration, environment and command line from cards."""

import math
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from service.config.cores import SLEEPING_THREADS, THREADS, threads_per_worker, usable_cores
from service.host import host_checks, torchserve_log, worker_program
from service.host.health import CONFIGURATION
from service.host.processes import free_port
from service.models.cards import CardError, ModelCard
from service.tasks import task_of

# Connections of TorchServe to each process that has an engine. Each but the first needs a process of its own, a
# follower: TorchServe sends only one batch at a time on each (decision 0052). Waiting batches are merged (0078).
CONNECTIONS: Final = "RESNEST_WORKER_CONNECTIONS"
MOST_CONNECTIONS: Final = 64
HEAD_ROOM = 65536  # bytes for a frame's header and its scores
# Bytes of a request to a model that is registered while TorchServe runs. Its memory for requests is not larger.
LARGEST_FRAME = 256 << 20
LONGEST_SOCKET: Final = ".ts.sock.65535"  # of a worker process, in TorchServe's temporary folder
SOCKET_PATH_BYTES: Final = 107

VM_ARGUMENTS = (
    "-XX:TieredStopAtLevel=1",  # the C2 compiler takes a tenth of a core for half a minute, without any gain
    "-Xms64m",
    "-Xmx512m",
    "-XX:MaxDirectMemorySize=256m",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
)
SECRETS = r"(?i).*(secret|token|password|credential|api_?key|access_?key|private_?key).*"


@dataclass(frozen=True)
class Addresses:
    """Where TorchServe listens: `http://host:port` or `unix:/path`. gRPC cannot be turned off; it is on loopback."""

    inference: str = "http://127.0.0.1:8080"
    management: str = "http://127.0.0.1:8081"
    metrics: str = "http://127.0.0.1:8082"
    grpc_inference_port: int = field(default_factory=free_port)
    grpc_management_port: int = field(default_factory=free_port)


def configuration(
    models: Iterable[ModelCard], archives: Path, addresses: Addresses, *, takes_models: bool = False
) -> str:
    """Return TorchServe's `config.properties` for these models, packaged in `archives`.

    With `takes_models`, models can be registered and unregistered while TorchServe runs.
    """
    models = list(models)
    largest = max(LARGEST_FRAME if takes_models else 0, *(largest_frame(card) for card in models))
    properties = {
        "inference_address": addresses.inference,
        "management_address": addresses.management,
        "metrics_address": addresses.metrics,
        "grpc_inference_address": "127.0.0.1",
        "grpc_management_address": "127.0.0.1",
        "grpc_inference_port": addresses.grpc_inference_port,
        "grpc_management_port": addresses.grpc_management_port,
        "model_store": archives.resolve(),
        "load_models": ",".join(card.server_name for card in models),
        "max_request_size": largest,
        "max_response_size": largest,
        # Every client that reaches these addresses is trusted, but cannot make TorchServe download or load anything.
        "disable_token_authorization": "true",
        "enable_model_api": str(takes_models).lower(),
        "allowed_urls": "file://nowhere/.*",
        "install_py_dep_per_model": "false",
        "blacklist_env_vars": SECRETS,
        "enable_envvars_config": "false",
        # The system metrics start a Python interpreter every minute.
        "disable_system_metrics": "true",
        "metrics_mode": "prometheus",
        # The gauges of service.worker.resources.
        "model_metrics_auto_detect": "true",
        "async_logging": "true",
        "prefer_direct_buffer": "true",
        "decode_input_request": "false",
        "vmargs": " ".join(VM_ARGUMENTS),
    }
    return "".join(f"{key}={_escaped(str(value))}\n" for key, value in properties.items())


def prepare(
    folder: Path,
    models: Iterable[ModelCard],
    archives: Path,
    addresses: Addresses,
    *,
    in_json: bool = False,
    takes_models: bool = False,
) -> None:
    """Write the configuration of one TorchServe into `folder`, and make a folder for its sockets there.

    TorchServe logs as text, or `in_json` as `service.config.logs` does. See `configuration` for `takes_models`.
    """
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    (folder / "log4j2.xml").write_text(torchserve_log.configuration(in_json=in_json), encoding="utf-8")
    properties = configuration(models, archives, addresses, takes_models=takes_models)
    (folder / CONFIGURATION).write_text(properties, encoding="utf-8")


def command(folder: Path, environment: Mapping[str, str]) -> list[str]:
    """Return the command that starts TorchServe in the foreground with what `prepare` wrote into `folder`.

    TorchServe's own launcher builds the same command. Without the launcher, signals reach the server, its exit is
    noticed, and no PID file can prevent its start. Raises `CardError` if Java or TorchServe is missing, or if no
    folder allows native libraries.
    """
    home = worker_program.write_home(folder)
    temporary = folder / "tmp"
    unpacking = host_checks.native_library_folder(temporary)
    return [
        host_checks.java(environment)[0],
        f"-Dmodel_server_home={home}",
        f"-Dlog4j.configurationFile={(folder / 'log4j2.xml').absolute().as_uri()}",
        f"-Djava.io.tmpdir={_folder_of_sockets(temporary)}",
        *([f"-Dio.netty.native.workdir={unpacking}"] if unpacking else []),
        *VM_ARGUMENTS,
        *("-cp", str(worker_program.installed() / "frontend" / "*")),
        "org.pytorch.serve.ModelServer",
        *("--python", sys.executable),
        *("-f", str(folder / CONFIGURATION)),
        "-ncs",  # no snapshots: one from an earlier run would override the configuration
    ]


def _folder_of_sockets(temporary: Path) -> Path:
    """Return a path of the folder `tmp` that is short enough for the sockets between Java and its workers.

    A run's folder always is. A long one is that of `worker`: its process goes there and starts Java.
    """
    fits = len(os.fsencode(temporary / LONGEST_SOCKET)) <= SOCKET_PATH_BYTES
    return temporary if fits else Path(f"/proc/{os.getpid()}/cwd", temporary.name)


def environment(folder: Path, models: Iterable[ModelCard], inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of `command`: nothing is written outside `folder`, and the workers share the cores."""
    threads = {
        THREADS: str(threads_per_worker(models, usable_cores())),
        **SLEEPING_THREADS,
        "MALLOC_ARENA_MAX": "2",  # with more arenas, the workers' memory grows
    }
    temporary = {"TMPDIR": str(folder / "tmp"), "TEMP": str(folder / "tmp")}
    programs = f"{inherited.get('PATH', os.defpath)}:{folder / 'home' / worker_program.PROGRAMS}"
    return {
        **threads,
        **inherited,
        **temporary,
        "PATH": programs,
        "LC_ALL": "C.UTF-8",
    }  # else Java may not find non-ASCII paths


def _escaped(value: str) -> str:
    """Return the value as Java reads it in a properties file: ASCII, a backslash doubled, the rest as UTF-16 codes."""
    units = value.replace("\\", "\\\\").encode("utf-16-be")
    codes = (int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2))
    return "".join(chr(code) if code < 128 else f"\\u{code:04x}" for code in codes)


def largest_frame(card: ModelCard) -> int:
    """Return the most bytes that a request to this model, or its response, can have.

    A request has three bytes per pixel for a full batch of the operation.
    """
    operations = task_of(card).operations_of(card)
    requests = (3 * math.prod(each.input(card).largest) * each.batch_size(card) for each in operations)
    responses = (each.response_bytes(card) * each.batch_size(card) for each in operations)
    return max(*requests, *responses) + HEAD_ROOM * card.serving.batch_size


def connections_per_engine(environment: Mapping[str, str]) -> int:
    """Return how many connections TorchServe has to each engine. Raises `CardError` for another value."""
    text = environment.get(CONNECTIONS, "2")
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MOST_CONNECTIONS):
        raise CardError(f"{CONNECTIONS} must be a whole number from 1 to {MOST_CONNECTIONS}, and is {text!r}")
    return int(text)
