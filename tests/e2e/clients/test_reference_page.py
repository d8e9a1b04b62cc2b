"""The API reference in a browser: its form takes a file, and shows the answer."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.running import Running

pytestmark = pytest.mark.e2e


def opened(page: Page, service: Running, operation: str) -> Locator:
    """Open the reference, and an operation in it to try."""
    page.goto(f"{service.client.base_url}/docs#/images/{operation}")
    found = page.locator(f"#operations-images-{operation}")
    found.get_by_role("button", name="Try it out").click()
    return found


def test_a_form_has_a_file_button_and_its_upload_is_answered(page: Page, asked: Running, photos: Path) -> None:
    operation = opened(page, asked, "classify")
    operation.get_by_label("Request content type").select_option("multipart/form-data")
    operation.locator("input[type=file]").set_input_files(photos / "photo.jpg")
    operation.get_by_role("button", name="Execute").click()

    answer = operation.locator(".live-responses-table")
    expect(answer.locator("tbody td.response-col_status")).to_contain_text("200")
    document = json.loads(answer.locator("pre.microlight").first.inner_text())
    assert document["results"][0]["filename"] == "photo.jpg"
    assert len(document["results"][0]["predictions"]) == 5


def test_a_raw_image_has_a_file_button_and_its_upload_is_answered(page: Page, asked: Running, photos: Path) -> None:
    operation = opened(page, asked, "segment")
    operation.get_by_label("Request content type").select_option("image/jpeg")
    operation.locator("input[type=file]").set_input_files(photos / "photo.jpg")
    operation.get_by_role("button", name="Execute").click()

    expect(operation.locator(".live-responses-table tbody td.response-col_status")).to_contain_text("200")


def test_the_first_operation_is_on_the_first_screen(page: Page, asked: Running) -> None:
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{asked.client.base_url}/docs")
    first = page.locator(".opblock").first
    first.wait_for()

    box = first.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 900
