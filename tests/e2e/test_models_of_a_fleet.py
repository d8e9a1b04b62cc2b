"""Gateways and workers apart: a model is added and removed by replacing processes in the order that the docs say."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from service.models.identity import identity
from service.models.zoo import read_all
from tests.e2e.fleet import Fleet, fleet
from tests.e2e.test_answers import upload
from tests.e2e.test_faults import replace_gateways, replace_workers, wait_for_more
from tests.laws.sources import ROOT
from tests.stores import write_store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

NEW = "tiny-classifier-b"


def served(clients: Sequence[httpx.Client]) -> dict[str, str]:
    """Return the identity of each served model by name, on which all gateways agree."""
    found = []
    for client in clients:
        names = [each["name"] for each in client.get("/v1/models").json()["models"]]
        found.append({name: client.get(f"/v1/models/{name}").json()["identity"] for name in names})
    assert all(each == found[0] for each in found), found
    return found[0]


def statuses(servers: Fleet) -> list[int]:
    """Return what each gateway answers to an image for the new model."""
    path = f"/v1/classify?model={NEW}"
    return [client.post(path, content=upload(1)).status_code for client in servers.clients]


def test_the_docs_say_the_order() -> None:
    text = (ROOT / "docs" / "operations" / "rollouts.md").read_text(encoding="utf-8")

    assert re.search(
        r"\[first the workers, then the gateways\]\(\S+\) to add models, and the other way to\s+remove", text
    )


def test_a_model_is_added_to_and_removed_from_two_gateways_and_their_model_servers_under_load(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", "tiny-classifier")
    with fleet(store, gateways=2) as servers, servers.loaded() as answers:
        wait_for_more(answers)
        write_store(store, NEW)
        replace_workers(servers, answers)
        assert list(served(servers.clients)) == ["tiny-classifier"]
        assert statuses(servers) == [404, 404]  # the workers have the model, and no gateway offers it yet
        replace_gateways(servers, answers)
        assert served(servers.clients) == {name: identity(card) for name, card in read_all(store).items()}
        assert statuses(servers) == [200, 200]

        shutil.rmtree(store / NEW)
        replace_gateways(servers, answers)
        assert list(served(servers.clients)) == ["tiny-classifier"]
        assert statuses(servers) == [404, 404]
        replace_workers(servers, answers)
        wait_for_more(answers)

    assert set(answers) == {200}, answers
