"""Accept headers, by RFC 9110 and its examples, and labels in the language of the request."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.gateway.http.negotiation import MAX_RANGES, preferred, preferred_languages
from service.models import zoo
from tests.gateway.conftest import Running
from tests.gateway.fixtures.images import image_bytes
from tests.stores import FLOWERS_AND_PETS, write_store

pytestmark = pytest.mark.anyio

JSON, PNG = "application/json", "image/png"
GERMAN = ("Katze", "Hund", "Gänseblümchen", "Löwenzahn", "Rose", "Sonnenblume", "Tulpe")
BRAZILIAN = ("gato", "cachorro", "margarida", "dente-de-leão", "rosa", "girassol", "tulipa")
PETS = ("Hintergrund", "Katze", "Hund")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("image/png", PNG),
        ("IMAGE/PNG", PNG),
        ("image/*", PNG),
        ("application/*", JSON),
        ("application/json, image/png", JSON),
        ("image/png, application/json", JSON),
        ("image/png, application/json;q=0.9", PNG),
        ("image/png;q=0.5, application/json;q=0.6", JSON),
        ("image/png;q=0.5,*/*;q=0.4", PNG),
        ("image/png;q=0.5,*/*", JSON),
        ("image/png, */*;q=0", PNG),
        ("application/json;q=0, */*", PNG),
        ("application/json;q=0, image/png;q=0", None),
        ("*/*;q=0", None),
        ("text/html", None),
        ("text/html, application/xhtml+xml, image/webp, */*;q=0.8", JSON),
        ("image/*;q=0.1, image/png;q=0", None),
        ("image/png ; q=1.0", PNG),
        ("image/png;level=1;q=0.7", PNG),
        ("image/png;q=2, application/json;q=0.1", JSON),
        ("image/png;q=-1, application/json;q=0.1", JSON),
        ("image/png;q=nan, application/json;q=0.1", JSON),
        ("image/png;q=, application/json;q=0.1", JSON),
        ("nonsense", None),
        (",,,", None),
    ],
)
def test_the_best_liked_type_is_chosen(accept: str | None, chosen: str | None) -> None:
    assert preferred(accept, [JSON, PNG]) == chosen


def test_no_more_ranges_are_read_than_anybody_means() -> None:
    many = ",".join(["x/y"] * MAX_RANGES)

    assert preferred(f"{many},image/png", ["application/json", "image/png"]) is None
    assert preferred(f"image/png,{many}", ["application/json", "image/png"]) == "image/png"
    assert len(preferred_languages(",".join(["de"] * 10_000))) == MAX_RANGES


def toml_list(names: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose classifier and segmenter have labels in more languages; the other classifier has not."""
    folder = write_store(tmp_path_factory.mktemp("languages"), weights=False)
    add_labels(folder / "tiny-classifier", f"de = {toml_list(GERMAN)}\npt-BR = {toml_list(BRAZILIAN)}\n")
    add_labels(folder / "tiny-segmenter", f"de = {toml_list(PETS)}\n")
    return folder


def add_labels(model: Path, names: str) -> None:
    with (model / "card.toml").open("a", encoding="utf-8") as card:
        card.write(f"\n[labels.names]\n{names}")


async def labels(client: httpx.AsyncClient, query: str = "", **headers: str) -> tuple[tuple[str, ...], str]:
    """Return an image's labels by class id, and the `Content-Language` of the response."""
    answer = await client.post(f"/v1/classify?top_k=7{query}", content=image_bytes(), headers=headers)
    assert answer.status_code == 200, answer.text
    rows = sorted(answer.json()["results"][0]["predictions"], key=lambda row: row["class_id"])
    return tuple(row["label"] for row in rows), answer.headers["content-language"]


@pytest.mark.parametrize(
    ("query", "accept", "expected"),
    [
        ("", "", (FLOWERS_AND_PETS, "en")),
        ("&lang=de", "", (GERMAN, "de")),
        ("&lang=DE-at", "", (GERMAN, "de")),
        ("&lang=pt-br", "", (BRAZILIAN, "pt-BR")),
        ("&lang=pt", "", (FLOWERS_AND_PETS, "en")),
        ("&lang=tlh", "", (FLOWERS_AND_PETS, "en")),
        ("&lang=en", "de", (FLOWERS_AND_PETS, "en")),
        ("&lang=de", "pt-BR", (GERMAN, "de")),
        ("", "de-CH, en;q=0.5", (GERMAN, "de")),
        ("", "fr, en;q=0.5, de;q=0.4", (FLOWERS_AND_PETS, "en")),
        ("", "de;q=0.4, pt-BR", (BRAZILIAN, "pt-BR")),
        ("", "de;q=0, pt;q=0.1, *;q=0.2", (FLOWERS_AND_PETS, "en")),
        ("", "de;q=8, ;;, \x7f", (FLOWERS_AND_PETS, "en")),
    ],
)
async def test_the_request_says_the_language_and_the_models_own_answers_an_unknown_one(
    query: str, accept: str, expected: tuple[tuple[str, ...], str], client: httpx.AsyncClient
) -> None:
    assert await labels(client, query, **({"Accept-Language": accept} if accept else {})) == expected


@pytest.mark.parametrize("lang", ["<b>", "de_DE", "d", "de-" * 20 + "de", "%00"])
async def test_what_is_no_language_is_an_invalid_parameter(lang: str, client: httpx.AsyncClient) -> None:
    answer = await client.post(f"/v1/classify?lang={lang}", content=image_bytes())

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_parameter")


async def test_masks_and_explanations_are_told_in_it_and_classes_still_named_in_the_models_own(
    client: httpx.AsyncClient,
) -> None:
    mask = await client.post("/v1/segment?lang=de&mask=polygons&classes=cat", content=image_bytes())
    heat = await client.post("/v1/explain?lang=de&overlay=false&classes=dog", content=image_bytes())

    (result,) = mask.json()["results"]
    assert {row["label"] for row in result["segments"]} == {"Katze"}
    assert {each["properties"]["label"] for each in result["mask"]["features"]} == {"Katze"}
    assert heat.json()["results"][0]["explanations"][0]["label"] == "Hund"
    assert [each.headers["content-language"] for each in (mask, heat)] == ["de", "de"]


async def test_the_overlay_leaves_the_background_alone_in_every_language(client: httpx.AsyncClient) -> None:
    overlays = [
        (await client.post(f"/v1/segment?overlay=png&lang={lang}", content=image_bytes())).json()["results"][0][
            "overlay"
        ]
        for lang in ("en", "de")
    ]

    assert overlays[0] == overlays[1]


async def test_of_several_models_each_speaks_the_language_that_it_has(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/v1/classify?lang=de&model=tiny-classifier&model=tiny-classifier-b", content=image_bytes()
    )

    blocks: list[dict[str, Any]] = answer.json()["results"][0]["models"]
    assert {row["label"] for row in blocks[0]["predictions"]} <= set(GERMAN)
    assert {row["label"] for row in blocks[1]["predictions"]} <= set(FLOWERS_AND_PETS)
    assert answer.headers["content-language"] == "de, en"


async def test_a_model_tells_its_languages_and_its_labels_in_its_own(client: httpx.AsyncClient) -> None:
    detail = (await client.get("/v1/models/tiny-classifier", headers={"Accept-Language": "de"})).json()

    assert detail["languages"] == ["en", "de", "pt-BR"]
    assert [row["label"] for row in detail["labels"]] == list(FLOWERS_AND_PETS)


async def test_a_kept_answer_is_told_in_each_language_and_has_a_tag_of_each(running: Running) -> None:
    async with running(cache_bytes=1_000_000) as client:
        answers = [
            await client.post("/v1/classify", content=image_bytes(), headers={"Accept-Language": each})
            for each in ("en", "de")
        ]

    first, second = (answer.json()["results"][0]["predictions"][0] for answer in answers)
    assert second["label"] == GERMAN[FLOWERS_AND_PETS.index(first["label"])]
    assert answers[1].headers["cache-status"].endswith("hit")
    assert answers[0].headers["etag"] != answers[1].headers["etag"]
    assert "Accept-Language" in answers[0].headers["vary"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (f"de = {toml_list(GERMAN[:6])}", "6 labels in de for 7 classes"),
        (f"de = {toml_list((*GERMAN[:6], ' '))}", r"labels\.names\.de\.6: "),
        (f"German_ = {toml_list(GERMAN)}", "German_"),
    ],
)
def test_labels_that_do_not_fit_make_the_card_unreadable(names: str, said: str, tmp_path: Path) -> None:
    store = write_store(tmp_path, "tiny-classifier", weights=False)
    add_labels(store / "tiny-classifier", names)

    found = zoo.read_all(store)
    assert not found
    assert re.search(said, found.unreadable["tiny-classifier"])
