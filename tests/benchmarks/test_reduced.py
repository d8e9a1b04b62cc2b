"""What is measured of JPEGs that are decoded at reduced scale."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks import reduced
from service import cards, preprocess
from service.pipeline import Pipeline


def test_answers_differ_from_where_a_jpeg_is_decoded_at_reduced_scale(
    store: Path, pictures: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray(pictures[0][:, :48]).save(photo)
    pipeline = Pipeline.load(cards.read(store / "tiny-classifier"), "cpu")
    limit = 4 * preprocess.needed_side(pipeline.card.input)
    for short, equal in ((limit - 1, True), (limit, False)):
        (upload,) = reduced.large([photo], short)
        with Image.open(io.BytesIO(upload)) as opened:
            assert (min(opened.size), opened.format) == (short, "JPEG")
        served, whole = reduced.both(pipeline, upload)
        assert np.array_equal(served["scores"], whole["scores"]) is equal
