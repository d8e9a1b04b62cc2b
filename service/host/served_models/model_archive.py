"""Makes the model directories that TorchServe loads from cards and weights."""

import fcntl
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from service.host.torchserve import connections_per_engine
from service.models.cards import CardError, ModelCard
from service.models.weights import checksums
from service.tasks import task_of

HANDLER = "service.worker.handler"  # never imported here, because it loads torch
ARCHIVES = "archives"  # a folder without cards, because TorchServe tries to load every folder of its store.
CREATED_ON = "01/01/2024 00:00:00"  # Fixed, so that the same model always gives the same archive
# Jobs that may wait for one model. The gateway admits fewer. If the queue is full, TorchServe answers 503 at once.
JOB_QUEUE_SIZE = 256
# TorchServe kills the worker if a batch takes longer than this. No live request gets there, because the gateway's
# deadline comes first.
HANG_FACTOR, HANG_FLOOR_S = 3, 30
# For so long TorchServe starts a worker process that ends again and again, every 55 s at last. Then it gives up; by
# default after 300 s. 23 days are nearly the most that its 32 bits of milliseconds hold (decision 0087).
RETRY_S = 2_000_000


def package(card: ModelCard, archives: Path) -> Path:
    """Write TorchServe's directory of this model, by its server name, unless it is up to date, and return it.

    Raises `CardError` if the weights are missing or differ from the card's checksum, if the labels do not fit, or if
    the archive cannot be written.
    """
    checksums.verify(card)
    _ = card.classes
    archive = archives / card.server_name
    try:
        files = _files(card)
        with _locked(archives):
            if not _up_to_date(archive, files, card):
                _replace(archive, files, card)
    except OSError as error:
        raise CardError(f"{card.name}: {archive} cannot be written: {error.strerror}") from error
    return archive


def holds(archives: Path, server_name: str, card: ModelCard) -> bool:
    """Return whether the directory of that name is what `package` would write for the card."""
    card = card.model_copy(update={"registered_as": server_name})
    try:
        return _up_to_date(archives / server_name, _files(card), card)
    except (OSError, CardError):
        return False


def _files(card: ModelCard) -> dict[str, bytes]:
    """Return the contents of the archive's files by path, except the weights."""
    connections = connections_per_engine(os.environ)
    manifest = {
        "createdOn": CREATED_ON,
        "runtime": "python",
        "model": {
            "modelName": card.server_name,
            "handler": HANDLER,
            "modelVersion": card.version,
            "configFile": "model-config.yaml",
        },
        "archiverVersion": "0.12.0",
        "worker": {"engines": card.serving.workers, "followers": connections - 1, "hang_s": _hang_s(card)},
    }
    serving = card.serving
    settings = {
        "minWorkers": serving.workers * connections,
        "maxWorkers": serving.workers * connections,
        "batchSize": serving.batch_size if serving.max_batch_delay_ms else 1,  # requests; each is a gateway's batch
        "maxBatchDelay": serving.max_batch_delay_ms or 1,
        "responseTimeout": _hang_s(card),
        "maxRetryTimeoutInSec": RETRY_S,
        "jobQueueSize": JOB_QUEUE_SIZE,
    }
    files = {
        "MAR-INF/MANIFEST.json": json.dumps(manifest, indent=2).encode() + b"\n",
        "model-config.yaml": "".join(f"{key}: {value}\n" for key, value in settings.items()).encode(),
        "card.toml": (card.folder / "card.toml").read_bytes(),
        card.labels_path.name if card.labels.set else card.labels.file: card.labels_path.read_bytes(),
    }
    if card.int8 and card.serving.precision == "int8":
        files[card.int8.file] = checksums.read_int8(card)
    if card.calibration and card.calibration.domain:
        files[card.calibration.domain.file] = checksums.read_domain(card)
    if card.weights.sha256 is None:  # downloaded weights have their checksum in a file next to them
        files[str(card.checksum_path.relative_to(card.folder))] = card.checksum_path.read_bytes()
    return files


def _hang_s(card: ModelCard) -> int:
    single = card.serving.deadline_s
    longest = max(each.deadline_s(card) for each in task_of(card).operations_of(card))
    return max(HANG_FLOOR_S, HANG_FACTOR * math.ceil(single), math.ceil(longest + single))


def _up_to_date(archive: Path, files: Mapping[str, bytes], card: ModelCard) -> bool:
    present = {str(path.relative_to(archive)): path for path in archive.rglob("*") if path.is_file()}
    if present.keys() != {*files, card.weights.file}:
        return False
    weights = present[card.weights.file]
    same_weights = weights.samefile(card.weights_path) or checksums.sha256(weights) == card.checksum
    return same_weights and all(present[name].read_bytes() == content for name, content in files.items())


def _replace(archive: Path, files: Mapping[str, bytes], card: ModelCard) -> None:
    """Build the archive in a hidden folder, which TorchServe skips, and then rename it into place."""
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=archive.parent))
    building.chmod(0o755)
    try:
        for name, content in files.items():
            (building / name).parent.mkdir(parents=True, exist_ok=True)
            (building / name).write_bytes(content)
        _link(card.weights_path, building / card.weights.file)
        if archive.exists():
            archive.rename(building / ".old")
        building.rename(archive)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    shutil.rmtree(archive / ".old", ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    """Hard-link the file, or copy it where the file system cannot link."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


@contextmanager
def _locked(archives: Path) -> Iterator[None]:
    """Hold the lock with which only one process at a time rewrites archives."""
    archives.mkdir(parents=True, exist_ok=True)
    with (archives / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
