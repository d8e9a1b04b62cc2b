"""The offline pipeline, which runs the code of the service in one process."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from service import engines
from service.engines import eager
from service.errors import ImageCorrupt, ImageTooLarge
from service.imaging import decoder, masks, preprocess
from service.imaging.decoder import ImageLimits
from service.measure.pipeline import Pipeline
from service.models import cards
from service.tasks.segmentation.scoring import mask_of
from service.tasks.segmentation.segment import MULTISCALE
from tests.imaging.test_preprocess import centre_crop_of_the_authors, resize_then_centre_crop

Pixels = npt.NDArray[np.uint8]


def encoded(pixels: Pixels, size: tuple[int, int] = (160, 120), kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(out, kind, **options)
    return out.getvalue()


def test_an_upload_goes_through_the_code_that_serves(store: Path, images: Pixels) -> None:
    card = cards.read(store / "tiny-classifier")
    data = encoded(images[0], (1600, 1200), "JPEG")
    (answer,) = Pipeline.load(card, "cpu")(data)
    decoded = decoder.decode(data, ImageLimits(), needed=preprocess.needed_side(card.input))
    expected = engines.load(card, "cpu")(preprocess.prepare(card.input, decoded.image)[None])["scores"][0]
    np.testing.assert_allclose(answer.arrays["scores"], expected, atol=1e-6)
    assert (answer.width, answer.height) == (1600, 1200)


REFERENCES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "tiny-classifier": lambda image: centre_crop_of_the_authors(image, 64, "bicubic"),
    "tiny-classifier-b": lambda image: resize_then_centre_crop(image, 64, 0.875, "bicubic"),
    "tiny-segmenter": lambda image: image.resize((64, 48), Image.Resampling.BILINEAR),
}


def no_engine(images: Pixels) -> dict[str, Pixels]:
    raise AssertionError(f"this test needs only the pixels, not an output for {len(images)} images")


@pytest.mark.parametrize("name", REFERENCES)
def test_the_pixels_of_a_jpeg_of_less_than_four_times_what_is_needed_are_pillows_bit_for_bit(
    store: Path, name: str
) -> None:
    card = cards.read(store / name)
    by_pillow = card.model_copy(update={"input": card.input.model_copy(update={"resizer": "pillow"})})
    pipeline = Pipeline(by_pillow, no_engine)
    limit = 4 * preprocess.needed_side(pipeline.card.input)
    for short_side, equal in ((limit - 1, True), (limit, False)):
        grain = np.random.default_rng(short_side).integers(0, 256, (short_side // 2, short_side * 2 // 3, 3), np.uint8)
        data = encoded(grain, (short_side * 4 // 3, short_side), "JPEG")
        with Image.open(io.BytesIO(data)) as opened:
            expected = np.asarray(REFERENCES[name](opened.convert("RGB")))
        assert np.array_equal(pipeline.prepare(data).pixels, expected) is equal


def test_a_mask_has_the_upright_uploads_size(store: Path, images: Pixels) -> None:
    card = cards.read(store / "tiny-segmenter")
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    rotated = encoded(images[0], (160, 120), "JPEG", exif=exif)
    (answer,) = Pipeline.load(card, "cpu")(rotated)
    assert mask_of(answer).shape == (160, 120)
    np.testing.assert_array_equal(mask_of(answer), masks.resize(answer.arrays["mask"], 120, 160))
    assert answer.arrays["class_scores"].shape == (3,)


def test_uploads_of_several_shapes_get_their_own_answers(store: Path, images: Pixels) -> None:
    pipeline = Pipeline.load(cards.read(store / "tiny-segmenter"), "cpu")
    sizes = [(160, 120), (120, 160), (160, 120), (100, 100)]
    uploads = [encoded(image, size) for image, size in zip(images, sizes, strict=False)]
    together = pipeline(*uploads)
    assert [(answer.width, answer.height) for answer in together] == sizes
    for upload, answer in zip(uploads, together, strict=True):
        np.testing.assert_allclose(pipeline(upload)[0].arrays["class_scores"], answer.arrays["class_scores"], atol=1e-4)


def test_the_best_mask_is_made_of_the_whole_upload(store: Path, images: Pixels) -> None:
    card = cards.read(store / "tiny-segmenter")
    data = encoded(images[0], (150, 90))
    (answer,) = Pipeline.load(card, "cpu", MULTISCALE)(data)
    expected = eager.load(card, "cpu")(MULTISCALE, np.asarray(decoder.decode(data, ImageLimits()).image)[None])
    assert answer.arrays["mask"].shape == mask_of(answer).shape == (90, 150)
    np.testing.assert_array_equal(mask_of(answer), expected["mask"][0])


def test_no_uploads_get_no_answers(store: Path) -> None:
    assert Pipeline.load(cards.read(store / "tiny-classifier"), "cpu")() == []


def test_it_refuses_what_the_service_refuses(store: Path, images: Pixels) -> None:
    card = cards.read(store / "tiny-classifier")
    engine = engines.load(card, "cpu")
    with pytest.raises(ImageCorrupt):
        Pipeline(card, engine)(encoded(images[0])[:200])
    with pytest.raises(ImageTooLarge):
        Pipeline(card, engine, ImageLimits(max_pixels=100))(encoded(images[0]))
