"""TorchServe's model directories, configuration and command line, made from cards."""

import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from service.config.cores import usable_cores
from service.host import health, torchserve
from service.host.torchserve import Addresses
from service.models import cards, zoo
from service.models.cards import CardError, ModelCard
from service.tasks import frame
from service.worker.election import Terms
from tests.stores import write_store


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    """A classifier with arbitrary bytes as its weight file, because packaging does not read it."""
    return written_card(tmp_path / "store")


def written_card(store: Path, name: str = "tiny-classifier", changes: Mapping[str, Any] | None = None) -> ModelCard:
    folder = write_store(store, name, weights=False, changes=changes) / name
    data = b"not really weights"
    (folder / "weights.safetensors").write_bytes(data)
    text = (folder / "card.toml").read_text(encoding="utf-8")
    (folder / "card.toml").write_text(text.replace("0" * 64, hashlib.sha256(data).hexdigest()), encoding="utf-8")
    return cards.read(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def times(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*")}


def properties(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_an_archive_holds_what_a_worker_needs(card: ModelCard, tmp_path: Path) -> None:
    archive = torchserve.package(card, tmp_path / "archives")
    assert archive == tmp_path / "archives" / "tiny-classifier"
    assert set(contents(archive)) == {
        "MAR-INF/MANIFEST.json",
        "card.toml",
        "labels.txt",
        "model-config.yaml",
        "weights.safetensors",
    }
    packaged = cards.read(archive)
    assert packaged.model_dump(exclude={"folder"}) == card.model_dump(exclude={"folder"})
    assert packaged.classes == card.classes


def test_the_manifest_names_the_handler_of_the_task(card: ModelCard, tmp_path: Path) -> None:
    archive = torchserve.package(card, tmp_path / "archives")
    manifest = json.loads((archive / "MAR-INF" / "MANIFEST.json").read_bytes())
    assert manifest["model"]["handler"] == torchserve.HANDLER
    assert (manifest["model"]["modelName"], manifest["model"]["modelVersion"]) == (card.name, card.version)
    assert (archive / manifest["model"]["configFile"]).is_file()
    assert Terms.read(archive) == Terms(engines=1, followers=1, hang_s=30)


def test_a_setting_gives_more_connections(card: ModelCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNEST_WORKER_CONNECTIONS", "12")
    archive = torchserve.package(card, tmp_path / "archives")
    settings = yaml.safe_load((archive / "model-config.yaml").read_bytes())

    assert (Terms.read(archive).followers, settings["minWorkers"], settings["maxWorkers"]) == (11, 12, 12)


@pytest.mark.parametrize("value", ["0", "65", "-1", "many", ""])
def test_a_number_of_connections_that_cannot_be_is_refused(value: str) -> None:
    with pytest.raises(CardError, match="RESNEST_WORKER_CONNECTIONS must be a whole number from 1 to 64"):
        torchserve.connections_per_engine({"RESNEST_WORKER_CONNECTIONS": value})


@pytest.mark.parametrize(("delay", "batch_size", "wait"), [(7, 3, 7), (0, 1, 1)])
def test_the_serving_table_becomes_torchserves_own(tmp_path: Path, delay: int, batch_size: int, wait: int) -> None:
    """Without a delay TorchServe takes each of the gateway's batches at once; its smallest delay is 1 ms."""
    serving = {"batch_size": 3, "max_batch_delay_ms": delay, "workers": 2, "deadline_s": 12.5}
    card = written_card(tmp_path / "store", changes={"serving": serving})
    settings = yaml.safe_load((torchserve.package(card, tmp_path / "archives") / "model-config.yaml").read_bytes())
    assert (settings["batchSize"], settings["maxBatchDelay"]) == (batch_size, wait)
    assert (settings["minWorkers"], settings["maxWorkers"]) == (4, 4), "a follower for each leader"
    assert settings["jobQueueSize"] == torchserve.JOB_QUEUE_SIZE
    assert all(type(value) is int for value in settings.values()), "TorchServe only warns of other types"


@pytest.mark.parametrize("deadline", [0.5, 10, 100])
def test_a_worker_is_given_up_only_after_every_deadline_has_passed(tmp_path: Path, deadline: float) -> None:
    card = written_card(tmp_path / "store", changes={"serving": {"deadline_s": deadline}})
    settings = yaml.safe_load((torchserve.package(card, tmp_path / "archives") / "model-config.yaml").read_bytes())
    assert settings["responseTimeout"] > deadline


def test_the_same_model_gives_the_same_archive(card: ModelCard, tmp_path: Path) -> None:
    first, second = (torchserve.package(card, tmp_path / name) for name in "ab")
    assert contents(first) == contents(second)


def test_an_archive_that_is_up_to_date_is_left_alone(card: ModelCard, tmp_path: Path) -> None:
    archive = torchserve.package(card, tmp_path / "archives")
    before = times(archive)
    torchserve.package(card, tmp_path / "archives")
    assert times(archive) == before


def test_weights_are_a_second_name_of_the_file_where_that_can_be(card: ModelCard, tmp_path: Path) -> None:
    archive = torchserve.package(card, tmp_path / "archives")
    assert (archive / "weights.safetensors").samefile(card.weights_path)


@pytest.mark.skipif(
    not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == Path(__file__).stat().st_dev,  # noqa: S108
    reason="needs a second file system",
)
def test_weights_are_copied_to_another_file_system(card: ModelCard) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        archive = torchserve.package(card, Path(other))
        assert (archive / "weights.safetensors").read_bytes() == card.weights_path.read_bytes()
        before = times(archive)
        torchserve.package(card, Path(other))
        assert times(archive) == before


@pytest.mark.parametrize("damage", ["missing", "changed", "further", "weights"])
def test_an_archive_that_differs_is_made_anew(card: ModelCard, tmp_path: Path, damage: str) -> None:
    archive = torchserve.package(card, tmp_path / "archives")
    sound = contents(archive)
    match damage:
        case "missing":
            (archive / "labels.txt").unlink()
        case "changed":
            (archive / "card.toml").write_text("name = 'other'", encoding="utf-8")
        case "further":
            (archive / "stray.py").write_text("", encoding="utf-8")
        case _:
            (archive / "weights.safetensors").unlink()
            (archive / "weights.safetensors").write_bytes(b"others")
    torchserve.package(card, tmp_path / "archives")
    assert contents(archive) == sound


def test_nothing_but_archives_is_left_in_their_folder(card: ModelCard, tmp_path: Path) -> None:
    """TorchServe may try to load any folder that it finds there."""
    archive = torchserve.package(card, tmp_path / "archives")
    (archive / "labels.txt").unlink()
    torchserve.package(card, tmp_path / "archives")
    assert [path.name for path in (tmp_path / "archives").iterdir() if path.is_dir()] == ["tiny-classifier"]
    assert not list(archive.glob(".*"))


def test_missing_weights_are_one_sentence_with_their_path(card: ModelCard, tmp_path: Path) -> None:
    card.weights_path.unlink()
    with pytest.raises(CardError, match=str(card.weights_path)):
        torchserve.package(card, tmp_path / "archives")
    assert not (tmp_path / "archives").exists()


def test_other_weights_than_the_cards_are_refused(card: ModelCard, tmp_path: Path) -> None:
    card.weights_path.write_bytes(b"tampered")
    with pytest.raises(CardError, match="SHA-256"):
        torchserve.package(card, tmp_path / "archives")
    assert not (tmp_path / "archives").exists()


def test_an_archive_that_cannot_be_written_is_one_sentence(card: ModelCard, tmp_path: Path) -> None:
    (tmp_path / "archives").touch()
    with pytest.raises(CardError, match=r"archives/tiny-classifier cannot be written: File exists$"):
        torchserve.package(card, tmp_path / "archives")


def test_labels_that_do_not_fit_are_told_before_a_worker_finds_out(card: ModelCard, tmp_path: Path) -> None:
    (card.folder / "labels.txt").write_text("cat\n", encoding="utf-8")
    with pytest.raises(CardError, match="1 labels for 7 classes"):
        torchserve.package(zoo.read_zoo(card.folder.parent)[card.name], tmp_path / "archives")


def test_pulled_weights_bring_their_recorded_checksum(card: ModelCard, tmp_path: Path) -> None:
    source = {"urls": ["https://example.org/w.pth"], "sha256": "0" * 64}
    stated = type(card.weights).model_validate({"file": card.weights.file, "sources": [source]})
    card.checksum_path.write_text(f"{card.weights.sha256}  {card.weights.file}\n", encoding="utf-8")
    pulled = card.model_copy(update={"weights": stated})
    archive = torchserve.package(pulled, tmp_path / "archives")
    assert (archive / card.checksum_path.name).read_bytes() == card.checksum_path.read_bytes()


def test_a_shared_label_set_is_copied_beside_the_card(tmp_path: Path) -> None:
    card = written_card(tmp_path / "store", changes={"labels": {}})
    rows = "class_id\tlabel\n" + "".join(f"{number}\tkind {number}\n" for number in range(7))
    (tmp_path / "store" / "labels").mkdir()
    (tmp_path / "store" / "labels" / "kinds.tsv").write_text(rows, encoding="utf-8")
    with (card.folder / "card.toml").open("a", encoding="utf-8") as text:
        text.write('\n[labels]\nset = "kinds"\n')
    archive = torchserve.package(cards.read(card.folder), tmp_path / "archives")
    assert [label.label for label in cards.read(archive).classes] == [f"kind {number}" for number in range(7)]


def test_the_configuration_shuts_every_door_that_is_not_used(card: ModelCard, tmp_path: Path) -> None:
    found = properties(torchserve.configuration([card], tmp_path, Addresses()))
    assert found["enable_model_api"] == "false"
    assert found["install_py_dep_per_model"] == "false"
    assert found["enable_envvars_config"] == "false"
    assert not any(found["allowed_urls"].startswith(scheme) for scheme in ("http", ".*", "file://.*"))
    assert found["grpc_inference_address"] == found["grpc_management_address"] == "127.0.0.1"


def test_the_configuration_names_the_models_and_addresses_it_was_given(card: ModelCard, tmp_path: Path) -> None:
    other = written_card(tmp_path / "other", "tiny-segmenter")
    addresses = Addresses("unix:/a", "unix:/b", "http://127.0.0.1:1", 2, 3)
    found = properties(torchserve.configuration([card, other], tmp_path / "archives", addresses))
    assert found["load_models"] == "tiny-classifier,tiny-segmenter"
    assert found["model_store"] == str(tmp_path / "archives")
    assert [found["inference_address"], found["management_address"]] == ["unix:/a", "unix:/b"]
    assert found["metrics_address"] == "http://127.0.0.1:1"
    assert (found["grpc_inference_port"], found["grpc_management_port"]) == ("2", "3")


def test_the_largest_request_and_answer_fit_the_configured_sizes(tmp_path: Path) -> None:
    input_table = {"size": 520, "multiple": 16}
    card = written_card(tmp_path / "store", "tiny-segmenter", changes={"input": input_table})
    found = properties(torchserve.configuration([card], tmp_path, Addresses()))
    side = 528  # 520 rounded up to a multiple of 16
    request = frame.pack({}, {"image": np.zeros((side, side, 3), np.uint8)})
    arrays: dict[str, Any] = {"mask": np.zeros((side, side), np.uint8), "class_scores": np.zeros(3, np.float32)}
    answer = frame.pack({"ok": True, "batch": 1, "inference_ms": 1.0}, arrays)
    assert len(request) < int(found["max_request_size"])
    assert len(answer) < int(found["max_response_size"])


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("AWS_SECRET_ACCESS_KEY", True),
        ("GITHUB_TOKEN", True),
        ("GRAFANA_PASSWORD", True),
        ("some_api_key", True),
        ("PATH", False),
        ("OMP_NUM_THREADS", False),
        ("HOME", False),
    ],
)
def test_workers_do_not_inherit_secrets(card: ModelCard, tmp_path: Path, name: str, *, hidden: bool) -> None:
    pattern = properties(torchserve.configuration([card], tmp_path, Addresses()))["blacklist_env_vars"]
    assert (re.fullmatch(pattern, name) is not None) is hidden


def test_models_can_be_registered_later_only_where_that_is_asked_for(card: ModelCard, tmp_path: Path) -> None:
    fixed = properties(torchserve.configuration([card], tmp_path, Addresses()))
    open_to_more = properties(torchserve.configuration([card], tmp_path, Addresses(), takes_models=True))

    assert (fixed["enable_model_api"], open_to_more["enable_model_api"]) == ("false", "true")
    assert int(fixed["max_request_size"]) < torchserve.LARGEST_FRAME == int(open_to_more["max_request_size"])
    assert fixed["allowed_urls"] == open_to_more["allowed_urls"]


def test_an_archive_holds_the_card_that_it_was_made_of(card: ModelCard, tmp_path: Path) -> None:
    named = card.model_copy(update={"registered_as": "tiny-classifier@1.0.2"})
    archive = torchserve.package(named, tmp_path)

    assert archive.name == "tiny-classifier@1.0.2"
    assert torchserve.holds(tmp_path, archive.name, card)
    labels = card.labels_path.read_text(encoding="utf-8")
    card.labels_path.write_text(labels.replace("cat", "lynx"), encoding="utf-8")
    assert not torchserve.holds(tmp_path, archive.name, card)
    assert not torchserve.holds(tmp_path, "another", card)


def test_a_store_may_lie_anywhere(card: ModelCard) -> None:
    found = properties(torchserve.configuration([card], Path("/a b/é\\/😀"), Addresses()))
    assert found["model_store"] == "/a b/\\u00e9\\\\/\\ud83d\\ude00"


def test_health_can_read_back_whom_to_ask(card: ModelCard, tmp_path: Path) -> None:
    addresses = Addresses(management="http://0.0.0.0:8081")
    torchserve.prepare(tmp_path / "run", [card], tmp_path, addresses)
    assert health.read_configuration(tmp_path / "run") == ("http://127.0.0.1:8081", ["tiny-classifier"])


def test_the_command_is_torchserves_own_and_stays_in_the_foreground(card: ModelCard, tmp_path: Path) -> None:
    torchserve.prepare(tmp_path, [card], tmp_path, Addresses())
    command = torchserve.command(tmp_path, {"PATH": ""})
    assert Path(command[0]).is_file()
    assert command[command.index("--python") + 1] == sys.executable
    assert Path(command[command.index("-f") + 1]).is_file()
    assert "org.pytorch.serve.ModelServer" in command
    assert "-ncs" in command
    assert (tmp_path / "log4j2.xml").is_file()


def test_the_workers_share_the_cores_and_their_idle_threads_sleep(card: ModelCard, tmp_path: Path) -> None:
    found = torchserve.environment(tmp_path, [card] * usable_cores(), {"HOME": "/home"})
    assert found["OMP_NUM_THREADS"] == "1"
    assert found["OMP_WAIT_POLICY"] == "PASSIVE"
    assert found["HOME"] == "/home"
    assert torchserve.environment(tmp_path, [card], {})["OMP_NUM_THREADS"] == str(usable_cores())


def test_threads_that_the_operator_set_stay_as_they_are(card: ModelCard, tmp_path: Path) -> None:
    assert torchserve.environment(tmp_path, [card], {"OMP_NUM_THREADS": "9"})["OMP_NUM_THREADS"] == "9"


def test_torchserve_writes_into_its_own_folder_only(card: ModelCard, tmp_path: Path) -> None:
    found = torchserve.environment(tmp_path, [card], dict(os.environ))
    assert found["TMPDIR"] == found["TEMP"] == str(tmp_path / "tmp")
