"""A worker that will stop says so in each response, until it is started again."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from service.host import health
from service.tasks import frame
from service.worker import drain, exchange
from service.worker.batches.batch import BatchedOutput


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a worker, in whose temporary folder this process runs as one of the worker's."""
    folder = tmp_path / health.WORKER_FOLDER
    (folder / "tmp").mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "tmp"))
    return folder


def test_the_hook_marks_the_worker_of_its_container_and_waits(worker: Path) -> None:
    assert not drain.has_begun()
    command = [sys.executable, "-m", "service.worker.drain", "0.1"]
    subprocess.run(command, env={**os.environ, "TMPDIR": str(worker.parent)}, check=True, timeout=60)

    assert drain.has_begun()
    drain.clear(worker)
    assert not drain.has_begun()


def test_a_container_without_a_worker_only_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    drain.main(["0"])

    assert list(tmp_path.iterdir()) == []


def test_only_a_worker_that_drains_says_so() -> None:
    output = BatchedOutput({}, 1, 1.0)
    (head, _), (drained, _) = (frame.unpack(exchange.reply(output, None, draining=each)) for each in (False, True))

    assert "draining" not in head
    assert drained["draining"] is True
