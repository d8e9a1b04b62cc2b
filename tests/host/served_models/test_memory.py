"""The memory that a model needs, and the memory that is left."""

from pathlib import Path

import pytest

from service.host.served_models import memory
from service.models import cards
from tests.stores import serving, write_store

GROUP = "service.slice/run.scope"


@pytest.fixture
def host(tmp_path: Path) -> dict[str, Path]:
    """A host with 8 GiB available, whose process is in a control group without a limit."""
    (tmp_path / "meminfo").write_text("MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n", encoding="ascii")
    (tmp_path / "own").write_text(f"0::/{GROUP}\n", encoding="ascii")
    (tmp_path / "groups" / GROUP).mkdir(parents=True)
    return {"meminfo": tmp_path / "meminfo", "cgroups": tmp_path / "groups", "own": tmp_path / "own"}


def limit(folder: Path, most: str, used: int, inactive: int = 0) -> None:
    (folder / "memory.max").write_text(f"{most}\n", encoding="ascii")
    (folder / "memory.current").write_text(f"{used}\n", encoding="ascii")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {inactive}\n", encoding="ascii")


def test_without_limits_it_is_what_the_host_has(host: dict[str, Path]) -> None:
    assert memory.available(**host) == 8 << 30
    limit(host["cgroups"] / GROUP, "max", 1 << 30)
    assert memory.available(**host) == 8 << 30


def test_a_limit_of_the_group_or_of_one_above_counts_without_files_that_can_be_dropped(host: dict[str, Path]) -> None:
    limit(host["cgroups"] / GROUP, str(4 << 30), 3 << 30, 1 << 30)
    assert memory.available(**host) == 2 << 30
    limit(host["cgroups"] / "service.slice", str(3 << 30), 2 << 30)
    assert memory.available(**host) == 1 << 30
    limit(host["cgroups"], str(1 << 30), 2 << 30)
    assert memory.available(**host) == 0


def test_this_host_has_some() -> None:
    assert memory.available() > 1 << 20


def test_a_model_needs_more_with_more_weights_and_workers(tmp_path: Path) -> None:
    card = cards.read(write_store(tmp_path, "tiny-classifier", weights=False) / "tiny-classifier")
    card.weights_path.write_bytes(b"")
    one = memory.needed(card)
    card.weights_path.write_bytes(bytes(1000))

    assert memory.needed(card) == one + 1000 * memory.BYTES_OF_WEIGHTS
    assert memory.needed(serving(card, workers=2)) == 2 * memory.needed(card)
