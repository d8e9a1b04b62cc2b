"""What a user does with the playground, in a real browser in front of the real service."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.e2e.playground.pages import await_answer, choose, choose_example, choose_files, painted
from tests.e2e.running import Running
from tests.e2e.test_answers import upload
from tests.gateway.playground.test_sources import SOURCES

pytestmark = pytest.mark.e2e

CAT = SOURCES / "examples" / "cat.jpg"


def results_of(service: Running, path: str, *images: bytes) -> list[dict[str, Any]]:
    """Return the service's own results for the same images."""
    files = [("file", ("image.jpg", image, "image/jpeg")) for image in images]
    results: list[dict[str, Any]] = service.client.post(path, files=files).raise_for_status().json()["results"]
    return results


def shown_bars(page: Page) -> list[tuple[str, str]]:
    rows = page.locator(".bars").first.get_by_role("listitem")
    return [(row.locator(".bar-label").inner_text(), row.locator(".bar-value").inner_text()) for row in rows.all()]


def test_an_example_is_classified_as_the_service_says(page: Page, playground: Running) -> None:
    choose_example(page, "a cat")
    await_answer(page)

    (result,) = results_of(playground, "/v1/classify", CAT.read_bytes())
    expected = [(each["label"], f"{each['score'] * 100:.1f} %") for each in result["predictions"]]
    assert shown_bars(page) == expected
    assert len(expected) == 5


def test_several_models_answer_side_by_side(page: Page) -> None:
    choose_example(page, "a cat")
    await_answer(page)
    page.get_by_role("checkbox", name="tiny-classifier-b").check()

    expect(page.locator("#result-body h3")).to_have_text(["tiny-classifier 1.0", "tiny-classifier-b 1.0"])
    expect(page.locator("#result-body .bars")).to_have_count(2)


def test_one_model_stays_chosen(page: Page) -> None:
    page.get_by_role("checkbox", name="tiny-classifier A random").click()

    expect(page.get_by_role("checkbox", name="tiny-classifier A random")).to_be_checked()


def test_an_option_changes_the_request(page: Page) -> None:
    choose_example(page, "a cat")
    await_answer(page)
    page.get_by_text("Options").click()
    page.get_by_role("spinbutton", name="Number of classes").fill("2")
    page.keyboard.press("Tab")

    expect(page.locator(".bars li")).to_have_count(2)


def test_a_mask_lies_over_the_image_and_its_classes_can_be_switched(page: Page, playground: Running) -> None:
    choose(page, "Segment")
    choose_example(page, "a cat")
    await_answer(page)

    (result,) = results_of(playground, "/v1/segment", CAT.read_bytes())
    coloured = {row["color"]: row["share"] for row in result["segments"] if row["color"] != "#000000"}
    layer = painted(page)
    assert (layer["width"], layer["height"]) == (result["image"]["width"], result["image"]["height"])
    assert layer["share"] == pytest.approx(sum(coloured.values()), abs=1e-6)
    assert set(layer["colours"]) == set(coloured)
    rows = page.locator(".legend li")
    assert [row.inner_text().split("\n")[:2] for row in rows.all()] == [
        [row["label"], f"{row['share'] * 100:.1f} %"] for row in result["segments"]
    ]

    for box in rows.get_by_role("checkbox").all():
        box.uncheck()
    page.get_by_role("heading", name="Result").hover()
    page.get_by_role("slider", name="Opacity").focus()
    assert painted(page)["share"] == 0


def test_the_pointer_names_the_class_of_the_pixel(page: Page, playground: Running) -> None:
    choose(page, "Segment")
    choose_example(page, "a cat")
    await_answer(page)

    (result,) = results_of(playground, "/v1/segment", CAT.read_bytes())
    data = playground.client.post(
        "/v1/segment", content=CAT.read_bytes(), headers={"Content-Type": "image/jpeg", "Accept": "image/png"}
    ).content
    with Image.open(io.BytesIO(data)) as mask:
        class_id = mask.getpixel((mask.width // 2, mask.height // 2))
    label = next(row["label"] for row in result["segments"] if row["class_id"] == class_id)
    page.locator("#stage-layer").hover()

    expect(page.locator("#stage-tip")).to_have_text(re.compile(f"^{label}, .* of the image$"))


def test_opacity_is_kept_from_image_to_image(page: Page) -> None:
    choose(page, "Segment")
    choose_example(page, "a cat")
    await_answer(page)
    page.get_by_role("slider", name="Opacity").fill("0.25")
    choose_example(page, "a dahlia")
    expect(page.locator("#stage-image")).to_have_attribute("alt", "dahlia.jpg")
    await_answer(page)

    expect(page.get_by_role("slider", name="Opacity")).to_have_value("0.25")
    assert page.locator("#stage-layer").evaluate("layer => layer.style.opacity") == "0.25"


def test_a_heat_map_shows_the_evidence_for_the_chosen_class(page: Page) -> None:
    choose(page, "Explain")
    choose_example(page, "a cat")
    await_answer(page)
    expect(page.locator("#result-body").get_by_role("radio")).to_have_count(3)
    first = painted(page)
    assert first["share"] > 0.1

    page.locator("#result-body").get_by_role("radio").nth(1).check()
    assert painted(page)["colours"] != first["colours"]


def test_the_similarity_of_two_images_is_the_cosine_of_their_features(page: Page, playground: Running) -> None:
    choose(page, "Similarity")
    choose_example(page, "a cat")
    expect(page.locator("#result-body")).to_contain_text("Add another image")
    choose_example(page, "a dahlia")
    expect(page.locator(".similarity tbody tr")).to_have_count(2)

    images = [CAT.read_bytes(), CAT.with_name("dahlia.jpg").read_bytes()]
    rows = results_of(playground, "/v1/embed?normalise=true", *images)
    one, other = (row["embedding"]["data"] for row in rows)
    cosine = sum(a * b for a, b in zip(one, other, strict=True))
    shown = page.locator(".similarity tbody tr").first.locator("td").nth(1).inner_text()
    assert float(shown) == pytest.approx(cosine, abs=2e-3)


def test_the_stages_of_the_request_are_a_waterfall(page: Page) -> None:
    choose_example(page, "a cat")
    await_answer(page)

    names = page.locator("#timing th").all_inner_texts()
    times = [float(text.removesuffix(" ms")) for text in page.locator("#timing .number").all_inner_texts()]
    assert names == ["upload", "decode", "queue", "inference", "service", "browser"]
    assert times[-1] >= times[-2] >= max(times[:4])


def test_mask_and_json_are_downloaded(page: Page, tmp_path: Path) -> None:
    choose(page, "Segment")
    choose_example(page, "a cat")
    await_answer(page)
    with page.expect_download() as mask:
        page.get_by_role("button", name="Download mask").click()
    page.get_by_text("Answer as JSON").click()
    with page.expect_download() as answer:
        page.get_by_role("button", name="Download JSON").click()

    mask.value.save_as(tmp_path / "mask.png")
    answer.value.save_as(tmp_path / "answer.json")
    with Image.open(tmp_path / "mask.png") as image:
        assert (mask.value.suggested_filename, image.mode, image.size) == ("cat-mask.png", "P", (451, 300))
    document = json.loads((tmp_path / "answer.json").read_text(encoding="utf-8"))
    assert len(document["results"][0]["mask"]["data"]) > 120
    assert "characters)" in page.locator("#json-text").inner_text()


def test_several_images_are_answered_in_one_request_and_chosen_from_a_strip(page: Page, tmp_path: Path) -> None:
    files = [tmp_path / f"{seed}.jpg" for seed in range(3)]
    for seed, file in enumerate(files):
        file.write_bytes(upload(seed))
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    choose_files(page, files)
    await_answer(page)
    page.get_by_role("button", name=re.compile("^Image 3, 2.jpg: ")).click()

    assert [url.rpartition("/v1/")[2] for url in sent if "/v1/" in url] == ["classify"]
    expect(page.locator("#stage-image")).to_have_attribute("alt", "2.jpg")
    expect(page.get_by_role("button", name=re.compile("^Image 3"))).to_have_attribute("aria-pressed", "true")
