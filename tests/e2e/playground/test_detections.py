"""Boxes and instance masks: those of the real detector, and known ones in the same form, whose pixels are checked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect
from pycocotools import mask as coco

from tests.e2e.playground.pages import await_answer, choose, choose_files, detect_unlikely, painted
from tests.e2e.playground.test_flows import CAT
from tests.e2e.running import Running

pytestmark = pytest.mark.e2e

WIDTH, HEIGHT = 451, 300
DETECTOR = {"name": "tiny-detector", "version": "1.0", "task": "detection"}
ORANGE, BLUE = "#e6862e", "#2e8fe6"


def runs() -> dict[str, Any]:
    """Return the left third of the image as run lengths."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[:, : WIDTH // 3] = 1
    encoded = coco.encode(np.asfortranarray(mask))
    return {"format": "rle", "size": encoded["size"], "counts": encoded["counts"].decode()}


def polygon() -> dict[str, Any]:
    """Return a square with a square hole."""
    rings = [
        [[300, 100], [400, 100], [400, 200], [300, 200], [300, 100]],
        [[325, 125], [375, 125], [375, 175], [325, 175], [325, 125]],
    ]
    return {"format": "polygons", "type": "MultiPolygon", "coordinates": [rings]}


DETECTIONS = [
    {"label": "cat", "class_id": 15, "score": 0.91, "bbox": [0, 0, 150, 300], "color": ORANGE, "mask": runs()},
    {"label": "ball", "class_id": 32, "score": 0.55, "bbox": [300, 100, 100, 100], "color": BLUE, "mask": polygon()},
    {"label": "ball", "class_id": 32, "score": 0.51, "bbox": [200, 20, 40, 40], "color": BLUE},
]


@pytest.fixture
def detecting(page: Page) -> Page:
    """The page of a service whose detections are `DETECTIONS`."""
    return detect(page, [DETECTIONS])


def detect(page: Page, images: Sequence[list[dict[str, Any]]]) -> Page:
    """Detect on the page in as many images. The service answers with these detections, for each image its own."""

    def answer(route: Route) -> None:
        image = {"width": WIDTH, "height": HEIGHT, "format": "JPEG", "mode": "RGB"}
        results = [
            {"index": index, "filename": "cat.jpg", "image": image, "detections": detections, "warnings": []}
            for index, detections in enumerate(images)
        ]
        route.fulfill(json={"request_id": "1", "model": DETECTOR, "results": results})

    page.route("**/v1/detect*", answer)
    choose(page, "Detect")
    choose_files(page, [CAT] * len(images))
    await_answer(page)
    return page


def alpha(page: Page, x: int, y: int) -> int:
    """Return the opacity of a pixel of the layer, 0 to 255."""
    script = """([x, y]) => {
        const copy = new OffscreenCanvas(1, 1).getContext("2d");
        copy.drawImage(document.getElementById("stage-layer"), -x, -y);
        return copy.getImageData(0, 0, 1, 1).data[3];
    }"""
    return int(page.evaluate(script, [x, y]))


def test_a_service_without_a_detector_offers_no_detection(page: Page) -> None:
    def models(route: Route) -> None:
        document = route.fetch().json()
        route.fulfill(json={"models": [row for row in document["models"] if row["task"] != "detection"]})

    expect(page.get_by_role("radio", name="Detect", exact=True)).to_be_visible()
    page.route("**/v1/models", models)
    page.reload()
    expect(page.get_by_role("radio", name="Segment", exact=True)).to_be_visible()
    expect(page.get_by_role("radio", name="Detect", exact=True)).to_have_count(0)


def test_the_detections_of_the_service_are_listed_and_drawn(page: Page, playground: Running) -> None:
    image = CAT.read_bytes()
    response = playground.client.post("/v1/detect?min_score=0.05", files={"file": ("cat.jpg", image, "image/jpeg")})
    (result,) = response.raise_for_status().json()["results"]
    assert result["detections"]
    detect_unlikely(page)

    rows = [row.inner_text().split("\n")[:2] for row in page.locator(".legend li").all()]
    assert rows == [[each["label"], f"{each['score'] * 100:.1f} %"] for each in result["detections"]]
    assert {each["color"] for each in result["detections"]} & set(painted(page)["colours"])


def test_detections_are_listed_with_score_and_size(detecting: Page) -> None:
    rows = [row.inner_text().split("\n") for row in detecting.locator(".legend li").all()]

    assert rows == [
        ["cat", "91.0 %", "150 \N{MULTIPLICATION SIGN} 300 px"],
        ["ball", "55.0 %", "100 \N{MULTIPLICATION SIGN} 100 px"],
        ["ball", "51.0 %", "40 \N{MULTIPLICATION SIGN} 40 px"],
    ]


def test_one_detection_is_singular_in_the_caption_and_in_the_legend(page: Page) -> None:
    detect(page, [DETECTIONS[:1], DETECTIONS])

    strip, heading = page.locator("#strip"), page.locator("#result-body legend").first
    expect(strip.get_by_role("button")).to_have_text(["1 object", "3 objects"])
    expect(heading).to_have_text("1 detection")
    strip.get_by_role("button").last.click()
    expect(heading).to_have_text("3 detections")


def test_boxes_and_masks_are_drawn_where_they_are(detecting: Page) -> None:
    layer = painted(detecting)
    assert (layer["width"], layer["height"]) == (WIDTH, HEIGHT)
    assert {ORANGE, BLUE} <= set(layer["colours"])

    inside, outside = 115, 0  # opacity of a mask; of what no detection has
    assert alpha(detecting, 75, 150) == pytest.approx(inside, abs=2)  # the run lengths
    assert alpha(detecting, 310, 150) == pytest.approx(inside, abs=2)  # the polygon
    assert alpha(detecting, 350, 150) == outside  # its hole
    assert alpha(detecting, 220, 50) == outside  # inside a box without a mask
    assert alpha(detecting, 300, 180) > 200  # a line


def test_a_detection_is_switched_off_and_one_alone_is_shown_on_its_row(detecting: Page) -> None:
    boxes = detecting.locator(".legend").get_by_role("checkbox")
    boxes.nth(0).uncheck()
    detecting.get_by_role("slider", name="Opacity").focus()
    detecting.get_by_role("heading", name="Result").hover()
    assert (alpha(detecting, 75, 150), alpha(detecting, 310, 150) > 0) == (0, True)

    boxes.nth(2).focus()
    assert (alpha(detecting, 75, 150), alpha(detecting, 310, 150)) == (0, 0)
    assert alpha(detecting, 200, 40) > 200


def test_the_pointer_names_the_detection(detecting: Page) -> None:
    scale = detecting.locator("#stage-layer").evaluate("layer => layer.getBoundingClientRect().width / layer.width")
    detecting.locator("#stage-layer").hover(position={"x": 350 * scale, "y": 150 * scale})

    expect(detecting.locator("#stage-tip")).to_have_text("ball · 55.0 %")


def test_the_code_names_the_members_of_a_detection(detecting: Page) -> None:
    detecting.get_by_text("This request as code").click()
    detecting.get_by_role("radio", name="TypeScript").check()

    expect(detecting.locator("#code-text")).to_contain_text("bbox: [number, number, number, number]")
