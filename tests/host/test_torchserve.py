"""TorchServe's model directories, configuration and command line, made from cards."""

import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.config.cores import usable_cores
from service.host import health, torchserve
from service.host.torchserve import Addresses
from service.models.cards import CardError, ModelCard
from service.tasks import frame
from tests.host.written_cards import written_card


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    return written_card(tmp_path / "store")


def properties(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


@pytest.mark.parametrize("value", ["0", "65", "-1", "many", ""])
def test_a_number_of_connections_that_cannot_be_is_refused(value: str) -> None:
    with pytest.raises(CardError, match="RESNEST_WORKER_CONNECTIONS must be a whole number from 1 to 64"):
        torchserve.connections_per_engine({"RESNEST_WORKER_CONNECTIONS": value})


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
