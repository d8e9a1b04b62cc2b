"""Several models side by side where each has a request of its own: masks, heat maps and detections."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.playground.conftest import SECOND, SECOND_DETECTOR
from tests.e2e.playground.pages import await_answer, choose, choose_example, detect_unlikely
from tests.e2e.playground.test_accessibility import findings, needs_axe, unfold
from tests.e2e.playground.test_flows import CAT
from tests.e2e.running import Running

pytestmark = pytest.mark.e2e

SHARES = "stages => stages.map((layer) => layer.width * layer.height)"


@pytest.fixture
def compared(page: Page) -> Page:
    """The page with the masks of two segmenters."""
    choose(page, "Segment")
    choose_example(page, "a cat")
    await_answer(page)
    page.get_by_role("checkbox", name=SECOND).check()
    expect(page.locator("#result-body .stage")).to_have_count(2)
    return page


def test_each_segmenter_has_its_mask_over_the_image_and_its_legend(compared: Page, playground: Running) -> None:
    expect(compared.locator("#result-body h3")).to_have_text(["tiny-segmenter 1.0", f"{SECOND} 1.0"])
    for index, name in enumerate(("tiny-segmenter", SECOND)):
        answer = playground.client.post(
            "/v1/segment",
            params={"model": name, "mask": "none"},
            files={"file": ("cat.jpg", CAT.read_bytes(), "image/jpeg")},
        )
        segments = answer.raise_for_status().json()["results"][0]["segments"]
        rows = compared.locator("#result-body section").nth(index).locator(".legend li")
        assert [row.inner_text().split("\n")[:2] for row in rows.all()] == [
            [each["label"], f"{each['share'] * 100:.1f} %"] for each in segments
        ]
    assert compared.locator("#result-body .stage canvas").evaluate_all(SHARES) == [451 * 300] * 2
    expect(compared.locator("#stage-layer")).to_be_hidden()


def test_the_pointer_names_the_class_in_each_column(compared: Page) -> None:
    for index in range(2):
        stage = compared.locator("#result-body .stage").nth(index)
        stage.locator("canvas").hover()
        expect(stage.locator("> span")).to_have_text(re.compile(" of the image$"))


def test_times_and_json_are_there_for_each_model_and_the_code_says_whose_it_is(compared: Page, tmp_path: Path) -> None:
    expect(compared.locator("#timing caption")).to_have_text(["tiny-segmenter", SECOND])
    compared.get_by_text("This request as code").click()
    expect(compared.locator("#code-note")).to_have_text(
        "Each model has a request of its own. This is that of tiny-segmenter."
    )
    compared.get_by_text("Answer as JSON").click()
    with compared.expect_download() as answer:
        compared.get_by_role("button", name="Download JSON").click()

    answer.value.save_as(tmp_path / "answers.json")
    documents = json.loads((tmp_path / "answers.json").read_text(encoding="utf-8"))
    assert [each["model"]["name"] for each in documents] == ["tiny-segmenter", SECOND]


def test_each_detector_has_its_boxes_over_the_image_and_its_list(page: Page, playground: Running) -> None:
    detect_unlikely(page)
    page.get_by_role("checkbox", name=SECOND_DETECTOR).check()
    expect(page.locator("#result-body .stage")).to_have_count(2)

    expect(page.locator("#result-body h3")).to_have_text(["tiny-detector 1.0", f"{SECOND_DETECTOR} 1.0"])
    listed = []
    for index, name in enumerate(("tiny-detector", SECOND_DETECTOR)):
        answer = playground.client.post(
            "/v1/detect",
            params={"model": name, "min_score": 0.05},
            files={"file": ("cat.jpg", CAT.read_bytes(), "image/jpeg")},
        )
        found = answer.raise_for_status().json()["results"][0]["detections"]
        rows = page.locator("#result-body section").nth(index).locator(".legend li").all()
        listed.append([row.inner_text().split("\n")[:2] for row in rows])
        assert listed[-1] == [[each["label"], f"{each['score'] * 100:.1f} %"] for each in found]
    assert listed[0] != listed[1], "the two models see the image at different sizes"
    assert page.locator("#result-body .stage canvas").evaluate_all(SHARES) == [451 * 300] * 2


def test_heat_maps_of_two_classifiers_are_chosen_independently(page: Page) -> None:
    choose(page, "Explain")
    choose_example(page, "a cat")
    await_answer(page)
    page.get_by_role("checkbox", name="tiny-classifier-b").check()
    sections = page.locator("#result-body section")
    expect(sections).to_have_count(2)
    sections.nth(1).get_by_role("radio").nth(2).check()

    expect(sections.nth(0).get_by_role("radio").nth(0)).to_be_checked()


def test_a_model_that_fails_has_its_problem_in_its_column(page: Page) -> None:
    def fail(route: Route) -> None:
        problem: dict[str, Any] = {"type": "/problems/overloaded", "title": "Too many requests", "status": 503}
        route.fulfill(status=503, json={**problem, "detail": "No place is free.", "code": "overloaded"})

    choose(page, "Segment")
    page.route(f"**/v1/segment?model={SECOND}*", fail)
    choose_example(page, "a cat")
    await_answer(page)
    page.get_by_role("checkbox", name=SECOND).check()

    sections = page.locator("#result-body section")
    expect(sections.nth(1)).to_contain_text("No place is free.")
    expect(sections.nth(0).locator(".legend li").first).to_be_visible()


@needs_axe
def test_axe_finds_nothing_in_a_comparison(compared: Page) -> None:
    unfold(compared)

    assert findings(compared) == []


def test_a_comparison_fits_a_phone(compared: Page) -> None:
    compared.set_viewport_size({"width": 320, "height": 800})

    assert compared.evaluate("document.documentElement.scrollWidth") <= 320
