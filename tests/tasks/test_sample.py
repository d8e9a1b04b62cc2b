"""The image and the members that all examples share."""

import base64

from service.imaging import decoder
from service.tasks import sample
from service.tasks.shapes import ImageFacts, Png, Timing


def test_the_image_is_the_one_that_the_results_describe() -> None:
    decoded = decoder.decode(sample.png(), decoder.ImageLimits())
    facts = ImageFacts.model_validate(sample.result()["image"])

    assert (decoded.width, decoded.height) == (facts.width, facts.height) == (sample.WIDTH, sample.HEIGHT)
    assert (decoded.format, decoded.mode) == (facts.format, facts.mode)


def test_a_response_has_its_id_first_and_its_times_last() -> None:
    document = sample.response(model={"name": "m"}, results=[sample.result(more=1)])

    assert list(document) == ["request_id", "model", "results", "timing_ms"]
    assert list(document["results"][0]) == ["index", "filename", "image", "more", "warnings"]
    Timing.model_validate(document["timing_ms"])


def test_a_file_has_the_size_of_the_image_and_its_bytes_in_base64() -> None:
    file = Png.model_validate(sample.file("png", sample.png()))

    assert (file.width, file.height) == (sample.WIDTH, sample.HEIGHT)
    assert base64.b64decode(file.data) == sample.png()
