"""A parameter in a wrong place, given twice, or unknown is refused by name; it is never dropped without a word."""

import base64
import time

import httpx
import orjson
import pytest

from service.gateway.http.mistakes import MAX_ROWS
from tests.gateway.fixtures.images import image_bytes

pytestmark = pytest.mark.anyio

FILE = {"file": ("a.png", image_bytes(), "image/png")}
NO_SUCH = "The model has no such class."
CLASSIFY, SEGMENT = "/v1/classify", "/v1/segment"


def refused(response: httpx.Response) -> dict[str, str]:
    """Return the description of each parameter of a 422."""
    body = response.json()
    assert (response.status_code, body["code"]) == (422, "invalid_parameter")
    return {each["parameter"]: each["detail"] for each in body["errors"]}


@pytest.mark.parametrize(
    ("path", "fields", "named"),
    [
        (CLASSIFY, {"model": "no-such-model"}, "model"),
        (CLASSIFY, {"top_k": "1"}, "top_k"),
        (CLASSIFY, {"note": "from the web page", "lang": "de"}, "lang"),
        (SEGMENT, {"mask": "none"}, "mask"),
        (SEGMENT, {"classes": "cat"}, "classes"),
        ("/v1/embed", {"model": "tiny-classifier"}, "model"),
    ],
)
async def test_a_parameter_in_a_form_is_refused_with_the_place_where_it_belongs(
    client: httpx.AsyncClient, path: str, fields: dict[str, str], named: str
) -> None:
    found = refused(await client.post(path, files=FILE, data=fields))
    assert found == {named: f"The body holds only images. Send `{named}` in the URL, as ?{named}=..."}


@pytest.mark.parametrize("fields", [{"top_k": 1}, {"model": "tiny-classifier"}, {"lang": "de", "other": 1}])
async def test_a_parameter_in_a_json_body_is_refused_like_one_in_a_form(
    client: httpx.AsyncClient, fields: dict[str, object]
) -> None:
    body = {"images": [{"content": base64.b64encode(image_bytes()).decode()}], **fields}
    found = refused(await client.post(CLASSIFY, json=body))
    assert found.keys() == {next(iter(fields))}


async def test_a_field_that_is_no_parameter_is_skipped(client: httpx.AsyncClient) -> None:
    response = await client.post(CLASSIFY, files=FILE, data={"csrf": "1", "submit": "Send"})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("path", "query", "named"),
    [
        (CLASSIFY, "top_k=1&top_k=3", {"top_k"}),
        (CLASSIFY, "top_k=1&top_k=1", {"top_k"}),
        (SEGMENT, "tolerance=1&mask=polygons&mask=rle&tolerance=2", {"mask", "tolerance"}),
    ],
)
async def test_a_parameter_that_is_no_list_is_refused_where_it_is_given_twice(
    client: httpx.AsyncClient, path: str, query: str, named: set[str]
) -> None:
    found = refused(await client.post(f"{path}?{query}", files=FILE))
    assert found == dict.fromkeys(named, "It is given more than once.")


async def test_a_parameter_that_is_a_list_may_be_repeated(client: httpx.AsyncClient) -> None:
    response = await client.post(f"{SEGMENT}?classes=cat&classes=dog", files=FILE)
    assert response.status_code == 200


@pytest.mark.parametrize("name", ["topk", "top-k", "Top_k"])
async def test_an_unknown_parameter_is_told_which_ones_there_are(client: httpx.AsyncClient, name: str) -> None:
    (detail,) = refused(await client.post(f"{CLASSIFY}?{name}=3", files=FILE)).values()
    assert (
        detail
        == "There is no such parameter. Did you mean top_k? This route has model, top_k, lang, min_score, unknown."
    )


@pytest.mark.parametrize("name", ["topk", "top-k", "Top_k"])
async def test_the_detail_alone_has_the_name_the_mistake_and_what_was_meant(
    client: httpx.AsyncClient, name: str
) -> None:
    body = (await client.post(f"{CLASSIFY}?{name}=3", files=FILE)).json()
    assert body["detail"].startswith(f"{name}: There is no such parameter. Did you mean top_k? This route has model, ")


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("top_k=x", "top_k: It must be a whole number."),
        ("top_k=999", "top_k: At most 7, the model's classes."),
        ("min_score=2&top_k=0&lang=1", "top_k: It must be at least 1. See errors for 2 more."),
        ("top_k=1&top_k=2", "top_k: It is given more than once."),
        ("%3Cb%3E=1", "query: There is no such parameter. This route has model, top_k, lang, min_score, unknown."),
    ],
)
async def test_the_detail_has_the_first_mistake_in_words_and_counts_the_others(
    client: httpx.AsyncClient, query: str, detail: str
) -> None:
    response = await client.post(f"{CLASSIFY}?{query}", files=FILE)
    refused(response)
    assert response.json()["detail"] == detail


async def test_the_detail_of_a_json_body_has_its_first_mistake_and_the_documented_form(
    client: httpx.AsyncClient,
) -> None:
    body = (await client.post(CLASSIFY, json={"image": "AAAA"})).json()
    assert body["code"] == "malformed_json"
    assert body["detail"].startswith(
        "The body is not the documented JSON. image: There is no such member. Did you mean images? "
        "See errors for 1 more."
    )
    assert [row["parameter"] for row in body["errors"]] == ["image", "images"]
    assert '{"images": [{"content": "<base64>"}]}' in body["detail"]


@pytest.mark.parametrize("media_type", ["binary/octet-stream", "application/octet-stream"])
async def test_the_media_types_for_unknown_bytes_are_read_by_the_first_bytes(
    client: httpx.AsyncClient, media_type: str
) -> None:
    response = await client.post(CLASSIFY, content=image_bytes(), headers={"Content-Type": media_type})
    assert response.status_code == 200


def form(*parts: tuple[str, bytes]) -> bytes:
    """Return a form as browsers send it: with an empty file name where no file was chosen."""
    rows = [
        f'--B\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n".encode()
        + content
        for name, content in parts
    ]
    return b"\r\n".join([*rows, b"--B--\r\n"])


async def test_a_file_input_without_a_chosen_file_is_skipped(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    both = await client.post(CLASSIFY, content=form(("", b""), ("a.png", image_bytes()), ("", b"")), headers=headers)
    assert both.status_code == 200
    assert [each["filename"] for each in both.json()["results"]] == ["a.png"]

    alone = await client.post(CLASSIFY, content=form(("", b"")), headers=headers)
    assert (alone.status_code, alone.json()["code"]) == (400, "empty_body")


async def test_an_empty_file_with_a_name_is_not_skipped(client: httpx.AsyncClient) -> None:
    response = await client.post(CLASSIFY, files=[("file", ("empty.png", b"", "image/png")), ("file", FILE["file"])])
    assert response.json()["results"][0]["error"]["code"] == "empty_body"


def json_body() -> bytes:
    return orjson.dumps({"images": [{"content": base64.b64encode(image_bytes()).decode()}]})


async def test_a_byte_order_mark_before_json_is_skipped(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json"}
    response = await client.post(CLASSIFY, content=b"\xef\xbb\xbf" + json_body(), headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
async def test_json_in_another_encoding_is_told(client: httpx.AsyncClient, encoding: str) -> None:
    content = json_body().decode().encode(encoding)
    response = await client.post(CLASSIFY, content=content, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (400, "malformed_json")
    assert "UTF-8" in response.json()["detail"]


@pytest.mark.parametrize("more", ["", "&0"])
async def test_a_request_of_thousands_of_names_is_refused_at_once_with_a_few_of_them(
    client: httpx.AsyncClient, more: str
) -> None:
    query = "&".join(f"{number:x}" for number in range(10_000)) + more
    started = time.perf_counter()
    found = refused(await client.post(f"{CLASSIFY}?{query}", files=FILE))

    assert time.perf_counter() - started < 1  # it took 5 s, in which no other request was answered
    assert len(found) <= MAX_ROWS


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/tiny-classifier", "/readyz"])
async def test_a_parameter_that_a_page_of_facts_does_not_have_is_refused(client: httpx.AsyncClient, path: str) -> None:
    found = refused(await client.get(f"{path}?requires=all&task=classification"))

    assert found.keys() == {"requires", "task"}
    assert ("Did you mean require?" in found["requires"]) is (path == "/readyz")


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("classes=cat,dog", f"{NO_SUCH} Repeat the parameter for each class, as classes=cat&classes=dog."),
        ("classes=cat, 2", f"{NO_SUCH} Repeat the parameter for each class, as classes=cat&classes=2."),
        ("lang=en_GB.UTF-8", "It must be a language tag, such as de or pt-BR."),
    ],
)
async def test_a_value_in_another_form_is_refused_with_the_form_to_use(
    client: httpx.AsyncClient, query: str, detail: str
) -> None:
    assert [*refused(await client.post(f"{SEGMENT}?{query}", files=FILE)).values()] == [detail]
