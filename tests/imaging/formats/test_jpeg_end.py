"""Where a JPEG ends. `tests/inputs/test_uploads.py` decodes files with missing lines and missing ends."""

from service.imaging.formats import jpeg_end
from tests.odd_images import upright_image, with_exif, written


def test_the_end_is_that_of_the_image_and_not_of_its_thumbnail() -> None:
    jpeg = written("JPEG")
    with_thumbnail = with_exif(jpeg, jpeg)
    assert jpeg_end.find(with_thumbnail + b"trailer") == len(with_thumbnail) - 2
    assert jpeg_end.find(with_thumbnail[:-2]) is None


def test_a_jpeg_whose_last_pixel_is_not_the_fill_is_not_decoded_again() -> None:
    def load(_data: bytes) -> None:
        raise AssertionError

    image = upright_image()
    image.putpixel((31, 23), (10, 20, 30))
    jpeg_end.check(written("JPEG"), image, load)  # type: ignore[arg-type]
