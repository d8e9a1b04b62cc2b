"""Tests of measurements beside an older tree of this project."""

import sys
from pathlib import Path

import pytest

from benchmarks.bars import old_tree
from benchmarks.bars.old_tree import OldTree
from benchmarks.contest.contestants import CONTESTANTS, ROOT
from benchmarks.contest.runner import ContestError
from tests.edges import edges
from tests.stores import write_store

ENGINE = """
import numpy
class cards:
    read = lambda folder: folder.name
class Engine:
    def __call__(self, images):
        assert images.shape == (4, 40, 64, 3) and images.dtype == numpy.uint8
def load(card, device):
    assert card == "tiny-segmenter"
    return Engine()
"""


def make_tree(root: Path, layout: str) -> OldTree:
    """Write a tree with an engine that does nothing, in this layout of modules."""
    modules = {"old": ("cards",), "new": ("models/__init__", "models/cards")}[layout]
    (root / "service" / "models").mkdir(parents=True)
    for name in ("__init__", *modules):
        (root / "service" / f"{name}.py").write_text("def read(folder):\n    return folder.name\n", encoding="utf-8")
    if layout == "old":
        (root / "service" / "models").rmdir()
    (root / "service" / "engines.py").write_text(ENGINE, encoding="utf-8")
    python = root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return OldTree(root)


@pytest.mark.parametrize("layout", edges(["old", "new"], "old"))
def test_engines_of_both_trees_take_turns(tmp_path: Path, layout: str) -> None:
    tree = make_tree(tmp_path / "tree", layout)
    store = write_store(tmp_path / "store", "tiny-segmenter")
    ours, before = old_tree.engine_rates(store / "tiny-segmenter", (64, 40), [tree], {}, 0.02)
    for each in (ours, before):
        assert each["images"] >= old_tree.TURNS * 4
        assert each["images"] % 4 == 0
        assert each["seconds"] > 0
    assert before["images"] > ours["images"]  # its engine computes nothing


def test_an_engine_that_does_not_load_is_reported(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", "new")
    (tree.root / "service" / "engines.py").write_text("raise SystemExit(1)", encoding="utf-8")
    store = write_store(tmp_path / "store", "tiny-segmenter")
    with pytest.raises(ContestError, match=f"the engine of {tree.root} does not load"):
        old_tree.engine_rates(store / "tiny-segmenter", (64, 40), [tree], {}, 0.02)


@pytest.mark.parametrize("package", ["benchmarks/servers", "benchmarks/contest/servers"])
def test_the_service_of_a_tree_runs_in_its_folder_and_environment(tmp_path: Path, package: str) -> None:
    (tmp_path / package).mkdir(parents=True)
    service = OldTree(tmp_path).contestant
    assert service.module == f"{package.replace('/', '.')}.ours_server"
    assert service.python == tmp_path / ".venv" / "bin" / "python"
    assert service.tree == tmp_path
    assert service.url(8000, "classification") == CONTESTANTS["ours"].url(8000, "classification")
    assert CONTESTANTS["ours"].tree == ROOT


def test_a_tree_that_cannot_make_its_models_is_reported(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", "new")
    with pytest.raises(ContestError, match=r"cannot make its models: .*No module named"):
        tree.check()
