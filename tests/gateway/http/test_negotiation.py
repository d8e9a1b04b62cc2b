"""Accept headers, by RFC 9110 and its examples."""

import pytest

from service.gateway.http.negotiation import RANGES, languages, preferred

JSON, PNG = "application/json", "image/png"


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
    many = ",".join(["x/y"] * RANGES)

    assert preferred(f"{many},image/png", ["application/json", "image/png"]) is None
    assert preferred(f"image/png,{many}", ["application/json", "image/png"]) == "image/png"
    assert len(languages(",".join(["de"] * 10_000))) == RANGES
