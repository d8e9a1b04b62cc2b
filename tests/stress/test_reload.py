"""A model is added, replaced and removed fifty times under load, and its processes are killed during a reload."""

import shutil
import signal
from pathlib import Path

import psutil
import pytest

from service.host.processes import free_port
from tests.e2e.fleet import WORKER, loaded
from tests.e2e.running import COMMAND, START_S, Running, running, until
from tests.e2e.test_answers import upload
from tests.e2e.test_reload import ask, models, reload, version
from tests.stores import write_store
from tests.stress.scale import scaled

pytestmark = [pytest.mark.stress, pytest.mark.timeout(7200)]

ROUNDS = scaled(50)
# On a busy machine, an image waits while the processes of another model start.
PATIENT = {"serving": {"deadline_s": 60}}
GROWTH = 64 << 20  # bytes of the whole process tree over all rounds; one model's worker has 150 MB and more
OTHER = "tiny-classifier-b"


def resident(service: Running) -> int:
    """Return the proportional memory (PSS) of the process tree in bytes: shared pages count once."""
    return sum(
        int(member.memory_full_info().pss) for member in [psutil.Process(service.process.pid), *service.members("")]
    )


def test_fifty_models_come_and_go_under_load(tmp_path: Path) -> None:
    """Callers of another model notice nothing, and the memory returns to its level."""
    store = write_store(tmp_path / "store", "tiny-classifier", changes=PATIENT)
    spare = write_store(tmp_path / "spare", OTHER, changes=PATIENT)
    levels: list[int] = []
    with running(store, tmp_path / "run", free_port(), RESNEST_GATEWAY_WORKERS="2") as service:
        service.await_ready(5 * START_S)
        with loaded([str(service.client.base_url)]) as answers:
            for number in range(ROUNDS):
                shutil.copytree(spare / OTHER, store / OTHER)
                reload(service, store)
                assert OTHER in models(service)
                if number % 5 == 0:
                    version(store, OTHER, "2.0", "newer")
                    shutil.rmtree(store / OTHER)
                    reload(service, store)
                    assert models(service)[OTHER] == "2.0"
                for folder in (OTHER, "newer"):
                    shutil.rmtree(store / folder, ignore_errors=True)
                reload(service, store)
                assert OTHER not in models(service)
                levels.append(resident(service))
                print(number, levels[-1] >> 20, dict(answers), flush=True)  # noqa: T201 - shown with `-s`
            assert "does not remove" not in service.output
        mebibytes = [level >> 20 for level in levels]
        print(f"{dict(answers)} over {ROUNDS} rounds; MiB after each: {mebibytes}")  # noqa: T201 - shown with `-rP`

    assert set(answers) == {200}, answers
    assert levels[-1] - levels[min(2, len(levels) - 1)] < GROWTH, mebibytes


@pytest.mark.parametrize("victim", ["org.pytorch.serve.ModelServer", "service gateway"])
def test_a_process_that_is_killed_during_a_reload_costs_the_reload_at_most(tmp_path: Path, victim: str) -> None:
    store = write_store(tmp_path / "store", "tiny-classifier", changes=PATIENT)
    with running(store, tmp_path / "run", free_port(), RESNEST_GATEWAY_WORKERS="2") as service:
        service.await_ready(5 * START_S)
        write_store(store, OTHER, changes=PATIENT)
        command = [COMMAND, "models", "reload", "--store", str(store)]
        process = psutil.Popen(command, env={"TMPDIR": str(service.temporary)})
        until(lambda: "Adding tiny-classifier-b" in service.output, START_S)
        service.members(victim)[0].send_signal(signal.SIGKILL)
        code = process.wait(5 * START_S)
        until(lambda: service.client.get("/readyz?require=all").status_code == 200, START_S, lambda: service.output)
        assert (OTHER in models(service)) is (code == 0)
        reload(service, store)
        assert OTHER in models(service)
        assert service.end() == 0


def test_a_model_that_cannot_be_loaded_or_never_answers_its_probe_is_refused(tmp_path: Path) -> None:
    """Both have valid cards and checksums. The second has a deadline that no answer can meet."""
    store = write_store(tmp_path / "store", "tiny-classifier", changes=PATIENT)
    with running(store, tmp_path / "run", free_port(), "--start-timeout", "120") as service:
        service.await_ready(5 * START_S)
        processes = len(service.members(WORKER))
        write_store(store, OTHER)
        card = store / OTHER / "card.toml"
        text = card.read_text(encoding="utf-8")
        card.write_text(text.replace("classes = 3", "classes = 4"), encoding="utf-8")
        labels = store / OTHER / "labels.txt"
        names = labels.read_text(encoding="utf-8")
        labels.write_text(f"{names}another\n", encoding="utf-8")
        assert f"nothing was changed: {OTHER}: " in reload(service, store, fails=True)

        labels.write_text(names, encoding="utf-8")
        card.write_text(text.replace("[serving]", "[serving]\ndeadline_s = 0.001"), encoding="utf-8")
        told = reload(service, store, fails=True)
        assert f"not ready after 120 s: {OTHER} has not answered a probe image: {OTHER} did not respond" in told

        assert models(service) == {"tiny-classifier": "1.0"}
        assert ask(service, "POST", "/v1/classify", content=upload(1)).status_code == 200
        until(lambda: len(service.members(WORKER)) == processes, START_S, lambda: service.output)
        assert service.end() == 0
