"""Tests of the measurement of JPEGs that are decoded at reduced scale."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.costs import reduced_jpeg
from service.imaging import preprocess
from service.measure.pipeline import Pipeline
from service.models import cards


def test_answers_differ_from_where_a_jpeg_is_decoded_at_reduced_scale(
    store: Path, images: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray(images[0][:, :48]).save(photo)
    pipeline = Pipeline.load(cards.read(store / "tiny-classifier"), "cpu")
    limit = 4 * preprocess.needed_side(pipeline.card.input)
    for short, equal in ((limit - 1, True), (limit, False)):
        (upload,) = reduced_jpeg.enlarge([photo], short)
        with Image.open(io.BytesIO(upload)) as opened:
            assert (min(opened.size), opened.format) == (short, "JPEG")
        served, whole = reduced_jpeg.both(pipeline, upload)
        assert np.array_equal(served["scores"], whole["scores"]) is equal
