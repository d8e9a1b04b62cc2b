"""Compiled graphs of a detector, compared with PyTorch."""

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from service.engines import multi_graph
from service.engines.openvino import parts
from service.engines.openvino.compile_cache import CompileCache
from service.models import cards
from service.models.cards import CardError, ModelCard
from tests.stores import write_store

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    """Return a detector in single precision: random weights give scores so close that bfloat16 changes their order."""
    exact = {"serving": {"precision": "fp32"}}
    return cards.read(write_store(tmp_path_factory.mktemp("store"), "tiny-detector", changes=exact) / "tiny-detector")


@pytest.fixture(scope="module")
def filled(card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the cache after a first start. Do not change it."""
    folder = tmp_path_factory.mktemp("filled")
    parts.load(card, "cpu", CompileCache(folder))(pixels(96, 128))
    return folder


def pixels(height: int, width: int, seed: int = 0) -> Pixels:
    coarse = np.random.default_rng(seed).integers(0, 256, (1, height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]


def test_images_of_any_size_get_the_detections_that_pytorch_gives_them(card: ModelCard, filled: Path) -> None:
    compiled, eager = parts.load(card, "cpu", CompileCache(filled)), multi_graph.load(card, "cpu")
    for sides in ((96, 128), (60, 96), (33, 128), (96, 128)):
        found, expected = compiled(pixels(*sides)), eager(pixels(*sides))
        assert len(expected["scores"][0]) > 3
        assert found["class_ids"][0].tolist() == expected["class_ids"][0].tolist()
        np.testing.assert_allclose(found["scores"][0], expected["scores"][0], atol=2e-3)
        np.testing.assert_allclose(found["boxes"][0], expected["boxes"][0], atol=1e-3)
        assert np.abs(found["masks"][0].astype(int) - expected["masks"][0]).max() <= 3


def test_outputs_of_an_image_are_not_overwritten_by_the_next(card: ModelCard, filled: Path) -> None:
    engine = parts.load(card, "cpu", CompileCache(filled))
    first = engine(pixels(96, 128))
    kept = {name: rows[0].copy() for name, rows in first.items()}
    engine(pixels(96, 128, seed=1))
    for name, rows in first.items():
        np.testing.assert_array_equal(rows[0], kept[name])


def test_the_graphs_come_from_the_cache_at_the_next_start(card: ModelCard, tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    first = parts.load(card, "cpu", cache)(pixels(96, 128))
    written = sorted(path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*.compiled"))
    assert written == [f"tiny-detector.{name}" for name in ("box_head_0", "mask_head_0", "trunk")]
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.compiled")}
    second = parts.load(card, "cpu", cache)(pixels(96, 128))
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.compiled")}
    np.testing.assert_array_equal(first["boxes"][0], second["boxes"][0])


def test_a_damaged_file_of_the_cache_is_compiled_again(card: ModelCard, filled: Path, tmp_path: Path) -> None:
    cache = CompileCache(shutil.copytree(filled, tmp_path / "cache"))
    expected = parts.load(card, "cpu", cache)(pixels(96, 128))
    damaged = list(tmp_path.rglob("*.compiled"))
    assert len(damaged) == 3
    for path in damaged:
        cache.write(path.parent.name, path.stem, b"not a model, but with the right checksum " * 9)
    np.testing.assert_array_equal(parts.load(card, "cpu", cache)(pixels(96, 128))["boxes"][0], expected["boxes"][0])


def test_weights_that_are_not_the_cards_are_refused(card: ModelCard) -> None:
    other = card.model_copy(update={"weights": card.weights.model_copy(update={"sha256": "0" * 64})})
    with pytest.raises(CardError, match="SHA-256"):
        parts.load(other, "cpu", CompileCache(None))
