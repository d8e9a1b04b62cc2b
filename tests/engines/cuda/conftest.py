"""Models and images with short sides: before its first image, an engine of a GPU times hundreds of passes."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.stores import write_store

SIDE = 32  # pixels


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, small = tmp_path_factory.mktemp("store"), {"input": {"size": SIDE}}
    return write_store(folder, "tiny-classifier", "tiny-segmenter", changes=small)


@pytest.fixture
def images(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return images[:, :SIDE, :SIDE]
