"""While traces are off, nothing is recorded, and work is what it was."""

import pytest

from service.gateway.metrics.tracing import IMAGE_TRACE, NO_SPANS

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def work() -> str:
    return "done"


def test_no_stage_makes_anything() -> None:
    assert NO_SPANS.stage("decode") is NO_SPANS.stage("encode")
    with NO_SPANS.stage("decode"):
        pass
    NO_SPANS.close()
    assert (NO_SPANS.exemplar, NO_SPANS.log_filter) == (None, None)


async def test_the_work_of_an_image_is_not_wrapped() -> None:
    with NO_SPANS.image("model") as image:
        assert image.bind(work) is work
        assert await work() == "done"
        assert IMAGE_TRACE.get() is None


def test_an_error_passes_through() -> None:
    with pytest.raises(KeyError), NO_SPANS.stage("decode"), NO_SPANS.image("model"):
        raise KeyError
