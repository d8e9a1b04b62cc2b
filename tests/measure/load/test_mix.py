"""Tests of the mix of images as callers upload them."""

import io
from pathlib import Path

import pytest
from PIL import Image

from service.imaging import decoder
from service.imaging.decoder import ImageLimits
from service.measure.load import corpus, mix
from service.measure.load.corpus import CorpusError, CorpusImage


def opened(image: CorpusImage) -> Image.Image:
    return Image.open(io.BytesIO(image.content))


@pytest.fixture(scope="module")
def made() -> list[CorpusImage]:
    return mix.make()


def test_the_mix_has_half_of_its_images_from_web_pages_and_half_from_phones(made: list[CorpusImage]) -> None:
    assert len(made) == 20
    assert sum(each.name.startswith("web-") for each in made) == 10
    assert sum(each.name.startswith("phone-") for each in made) == 10


def test_the_sizes_reach_from_0_2_to_12_megapixels(made: list[CorpusImage]) -> None:
    megapixels = sorted(opened(each).width * opened(each).height / 1e6 for each in made)
    assert 0.2 <= megapixels[0] < 0.3
    assert 12 < megapixels[-1] < 12.3
    assert 2 < sum(megapixels) / len(megapixels) < 3


def test_every_image_has_as_many_bytes_for_a_pixel_as_photographs_have(made: list[CorpusImage]) -> None:
    bits = [8 * len(each.content) / (opened(each).width * opened(each).height) for each in made]
    assert all(0.5 < each < 2.5 for each in bits), bits


def test_a_phone_held_upright_stores_its_orientation(made: list[CorpusImage]) -> None:
    upright = [each for each in made if opened(each).getexif().get(mix.ORIENTATION) == mix.PORTRAIT]
    (image,) = upright
    decoded = decoder.decode(image.content, ImageLimits())
    assert (decoded.width, decoded.height) == (3024, 4032)


def test_the_seed_and_the_photos_determine_the_mix(made: list[CorpusImage], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mix, "MIX", mix.MIX[:2])  # only small ones
    photos = [each.content for each in corpus.make([(64, 48)], per_size=2)]
    assert mix.make(photos, seed=1) == mix.make(photos, seed=1)
    contents = {mix.make(photos, seed=1)[0].content, mix.make(photos, seed=2)[0].content, mix.make()[0].content}
    assert len(contents) == 3
    assert not contents & {each.content for each in made}


def test_an_image_of_the_mix_shows_its_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mix, "MIX", mix.MIX[:1])
    photo = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 30, 30)).save(photo, "PNG")
    red, green, blue = opened(mix.make([photo.getvalue()])[0]).resize((1, 1)).getpixel((0, 0))  # type: ignore[misc]
    assert red > green + 100
    assert red > blue + 100


def test_photos_are_read_from_the_whole_folder(tmp_path: Path) -> None:
    for index, image in enumerate(corpus.make([(16, 16)], per_size=41)):
        (tmp_path / f"{index:02}.jpg").write_bytes(image.content)
    (tmp_path / "zz.txt").write_text("not an image", encoding="utf-8")
    found = mix.read_photos(tmp_path)
    assert len(found) == 20
    assert found[-1] == (tmp_path / "38.jpg").read_bytes()


def test_a_folder_without_photos_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=f"{tmp_path} contains no images"):
        mix.read_photos(tmp_path)
