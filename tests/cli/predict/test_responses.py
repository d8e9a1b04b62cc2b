"""What each kind of response means for an image and for the run."""

import json

import pytest

from service.cli.predict import responses
from service.cli.predict.failures import RunFailedError
from service.cli.predict.responses import BusyError, ServiceReply

URL = "http://service"
PAGE = b"<html>"


def problem(status: int, code: str, **headers: str) -> ServiceReply:
    return ServiceReply(status, headers, json.dumps({"status": status, "code": code, "detail": "why"}).encode())


@pytest.mark.parametrize("body", [PAGE, b'{"message": "no upstream"}', b"[]", b""])
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 520])
def test_a_proxy_whose_service_is_away_is_busy(status: int, body: bytes) -> None:
    with pytest.raises(BusyError, match=f"a proxy before the service answered {status}") as raised:
        responses.read(ServiceReply(status, {"Retry-After": "7"}, body), URL, is_image=True)

    assert raised.value.pause_s == 7
    assert raised.value.problem["code"] == responses.NO_ANSWER


def test_a_proxy_that_takes_no_image_of_that_size_rejects_this_one_only() -> None:
    found = responses.read(ServiceReply(413, {}, PAGE), URL, is_image=True)

    assert found["error"]["code"] == "body_too_large"
    with pytest.raises(RunFailedError, match="may be of a proxy"):
        responses.read(ServiceReply(413, {}, PAGE), URL, is_image=False)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirection_ends_the_run_and_names_the_other_address(status: int) -> None:
    reply = ServiceReply(status, {"Location": "https://service/v1/models"}, PAGE)

    with pytest.raises(RunFailedError, match=r"redirects to https://service/v1/models; name .* with --url"):
        responses.read(reply, URL, is_image=False)


@pytest.mark.parametrize(("status", "code"), [(408, "upload_timeout"), (503, "overloaded"), (504, "deadline_exceeded")])
def test_a_rejection_that_may_be_the_images_has_its_problem(status: int, code: str) -> None:
    with pytest.raises(BusyError) as raised:
        responses.read(problem(status, code), URL, is_image=True)

    assert raised.value.problem == {"status": status, "code": code, "detail": "why"}


def test_a_model_that_was_left_out_ends_the_run() -> None:
    with pytest.raises(RunFailedError, match="503 model_refused: why Name another with --model"):
        responses.read(problem(503, "model_refused", **{"Retry-After": "60"}), URL, is_image=True)


@pytest.mark.parametrize(("status", "code"), [(401, "unauthenticated"), (404, "model_not_found"), (200, "none")])
def test_what_is_no_answer_about_any_image_ends_the_run(status: int, code: str) -> None:
    with pytest.raises(RunFailedError, match=str(status)):
        responses.read(problem(status, code), URL, is_image=True)


def test_a_hit_of_the_services_cache_is_known() -> None:
    for state, expected in (("resnest-service; hit", True), ("resnest-service; fwd=miss", False), ("", False)):
        assert responses.is_cached(ServiceReply(200, {"Cache-Status": state}, b"")) is expected
