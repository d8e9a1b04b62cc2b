"""Ten thousand requests while model servers are replaced over and over."""

from pathlib import Path

import pytest

from tests.e2e.fleet import fleet
from tests.e2e.test_faults import more, replace_all
from tests.stores import write_store

pytestmark = [pytest.mark.stress, pytest.mark.timeout(3600)]

REQUESTS = 10_000


def test_rolling_restarts_of_torchserves_lose_none_of_ten_thousand_requests(tmp_path: Path) -> None:
    with fleet(write_store(tmp_path / "store", "tiny-classifier")) as servers, servers.loaded() as answers:
        rounds = 0
        while answers.total() < REQUESTS or rounds < 3:
            replace_all(servers, answers)
            rounds += 1
        more(answers)

    assert set(answers) == {200}, answers
