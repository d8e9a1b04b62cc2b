"""The terms of a request, read from its headers."""

import asyncio
import time
from typing import Any

import pytest
from starlette.requests import Request

from service.errors import InvalidHeader
from service.gateway.scheduling import request_terms
from service.gateway.scheduling.request_terms import RequestTerms
from service.models.cards import ModelCard

pytestmark = pytest.mark.anyio

MAX_TIMEOUT_S = 60.0


def request(*headers: tuple[str, str], state: dict[str, Any] | None = None, age_s: float = 0.0) -> Request:
    return Request(
        {
            "type": "http",
            "client": ("192.0.2.7", 4711),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
            "state": {"started": time.perf_counter() - age_s, **(state or {})},
        }
    )


async def test_without_headers_the_models_own_deadline_holds(served: dict[str, ModelCard]) -> None:
    card = served["tiny-classifier"]

    asked = request_terms.of(request(), MAX_TIMEOUT_S)

    assert asked == RequestTerms("192.0.2.7", 3, None)
    assert asked.deadline(card, 5.0) == 5.0 + card.serving.deadline_s


async def test_a_best_mask_has_ten_times_the_time_unless_its_card_says_otherwise(served: dict[str, ModelCard]) -> None:
    card, asked = served["tiny-segmenter"], RequestTerms(operation="predict_multiscale")
    own = card.model_copy(update={"multiscale": card.multiscale.model_copy(update={"deadline_s": 33.0})})

    assert asked.deadline(card, 5.0) == 5.0 + 10 * card.serving.deadline_s
    assert asked.deadline(own, 5.0) == 38.0
    assert RequestTerms(end=7.0, operation="predict_multiscale").deadline(card, 5.0) == 7.0


async def test_the_time_asked_for_counts_from_the_requests_first_byte(served: dict[str, ModelCard]) -> None:
    now = asyncio.get_running_loop().time()

    asked = request_terms.of(request(("Request-Timeout", "2.5"), age_s=1.0), MAX_TIMEOUT_S)

    assert asked.end == pytest.approx(now + 1.5, abs=0.2)
    assert asked.deadline(served["tiny-classifier"], now + 100) == asked.end


@pytest.mark.parametrize(
    "value", ["", "0", "0.0", "-1", "60.001", "1e3", "nan", "inf", "1,5", "2 s", "9999999", "1.", ".5", "٣", "0x10"]
)
async def test_a_time_that_is_none_is_refused_by_its_name(value: str) -> None:
    with pytest.raises(InvalidHeader) as refused:
        request_terms.of(request(("Request-Timeout", value.encode().decode("latin-1"))), MAX_TIMEOUT_S)

    (row,) = refused.value.problem()["errors"]
    assert row["parameter"] == "Request-Timeout"
    assert "60" in row["detail"]


async def test_two_times_are_refused() -> None:
    with pytest.raises(InvalidHeader):
        request_terms.of(request(("Request-Timeout", "1"), ("Request-Timeout", "2")), MAX_TIMEOUT_S)


@pytest.mark.parametrize(
    ("sent", "urgency"),
    [
        (["u=0"], 0),
        (["u=7, i"], 7),
        (["i, u=5"], 5),
        (["u=5;x=1"], 5),
        (["u=1, u=6"], 6),
        (["u=1", "u=6"], 6),
        (["u=8"], 3),
        (["u=-1"], 3),
        (["u=2.5"], 3),
        (['u="2"'], 3),
        (["U=2"], 3),
        (["hurry"], 3),
        ([""], 3),
    ],
)
async def test_an_urgency_is_read_as_rfc_9218_says_and_ignored_where_malformed(sent: list[str], urgency: int) -> None:
    assert request_terms.of(request(*(("Priority", value) for value in sent)), MAX_TIMEOUT_S).urgency == urgency


async def test_who_was_authenticated_is_the_caller_else_the_clients_address() -> None:
    assert request_terms.of(request(state={"caller": "team-a"}), MAX_TIMEOUT_S).caller == "team-a"
    assert request_terms.of(request(state={"caller": None}), MAX_TIMEOUT_S).caller == "192.0.2.7"


async def test_a_client_without_an_address_is_a_caller_too() -> None:
    nameless = request()
    nameless.scope["client"] = None

    assert request_terms.of(nameless, MAX_TIMEOUT_S).caller == ""
