"""The result of one image, and what of it is cached."""

import gc
import weakref

import numpy as np
import pytest

from service.errors import BackendUnavailable, ImageCorrupt, ServiceError
from service.gateway.inference.result import OVERHEAD_BYTES, Result
from service.gateway.uploads.parsers.image_bodies import Upload
from service.tasks import frame
from service.tasks.base import DecodedFacts, ModelOutput

FACTS = DecodedFacts(8, 8, "PNG", "RGB", ())


class Body(bytearray):
    """The body of a response. A weak reference to it ends when it leaves the memory."""


def outputs_of(body: Body) -> list[ModelOutput]:
    return [ModelOutput(arrays, 8, 0.1, 0.2) for _, arrays in frame.unpack_all(body)]


def body_of(images: int) -> Body:
    frames = (frame.pack({"ok": True}, {"mask": np.full((8, 8), each, np.uint8)}) for each in range(images))
    return Body(b"".join(frames))


def test_a_cached_result_keeps_nothing_of_the_other_images_of_its_batch() -> None:
    body = body_of(8)
    in_memory, outputs = weakref.ref(body), outputs_of(body)
    cached = Result(Upload(b"upload"), FACTS, (outputs[3],), 0.5, b"digest").cacheable()
    del body, outputs
    gc.collect()

    assert in_memory() is None
    assert cached is not None
    (output,) = cached.outputs
    assert isinstance(output, ModelOutput)
    np.testing.assert_array_equal(output.arrays["mask"], np.full((8, 8), 3))
    assert cached.size() == OVERHEAD_BYTES + 64


def test_requests_that_share_a_cached_array_cannot_change_it() -> None:
    cached = Result(Upload(b""), FACTS, (outputs_of(body_of(1))[0],)).cacheable()

    assert cached is not None
    assert isinstance(cached.outputs[0], ModelOutput)
    with pytest.raises(ValueError, match="read-only"):
        cached.outputs[0].arrays["mask"][0, 0] = 1


def test_a_cached_result_has_no_upload_and_no_times() -> None:
    cached = Result(Upload(b"upload"), FACTS, (outputs_of(body_of(1))[0],), 0.5).cacheable()

    assert cached is not None
    assert cached.upload.content == b""
    assert cached.stages == {"decode": 0, "queue": 0, "inference": 0}


@pytest.mark.parametrize(
    ("facts", "errors"), [(ImageCorrupt("damaged"), ()), (FACTS, (BackendUnavailable("gone"),))], ids=["image", "model"]
)
def test_a_result_of_which_a_part_failed_is_not_cached(
    facts: DecodedFacts | ServiceError, errors: tuple[ServiceError, ...]
) -> None:
    result = Result(Upload(b""), facts, (*outputs_of(body_of(1)), *errors))

    assert not result.is_complete
    assert result.cacheable() is None
