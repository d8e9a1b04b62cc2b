"""What is said of a JSON body that is not the documented one."""

import pytest

from service.errors import MalformedJson
from service.gateway.uploads.parsers.image_bodies import JsonBody
from service.gateway.uploads.parsers.json_mistakes import UNDOCUMENTED_MEMBER, URL_MEMBER


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b'{"image": "AAAA"}', ("image", "There is no such member. Did you mean images?")),
        (b'{"Images": []}', ("Images", "There is no such member. Did you mean images?")),
        (b'{"images": [{"image": "AAAA"}]}', ("images.0.image", "There is no such member. Did you mean content?")),
        (
            b'{"images": [{"contents": "AAAA"}]}',
            ("images.0.contents", "There is no such member. Did you mean content?"),
        ),
        (b'{"images": [{"url": "https://a.example/b.jpg"}]}', ("images.0.url", URL_MEMBER)),
        (b'{"url": "https://a.example/b.jpg"}', ("url", URL_MEMBER)),
    ],
)
def test_the_error_that_says_what_to_change_comes_first_and_names_the_member(
    text: bytes, named: tuple[str, str]
) -> None:
    body = JsonBody(max_images=4)
    body.feed(text)
    with pytest.raises(MalformedJson) as raised:
        body.finish()

    rows = [(row["parameter"], row["detail"]) for row in raised.value.members["errors"]]
    assert rows[0] == named
    assert rows[1][1] == "It is missing."
    assert f"{named[0]}: {named[1]}" in raised.value.detail


def test_a_useful_error_is_told_after_many_that_are_not() -> None:
    body = JsonBody(max_images=20)
    body.feed(b'{"images": [' + b"{}, " * 12 + b'{"url": "https://a.example/b.jpg"}]}')
    with pytest.raises(MalformedJson) as raised:
        body.finish()

    assert raised.value.members["errors"][0] == {"parameter": "images.12.url", "detail": URL_MEMBER}
    assert len(raised.value.members["errors"]) == 8


@pytest.mark.parametrize("text", [b'{"pr1v4te": 1}', b'{"images": [{"pr1v4te": 1}]}', b'{"images": [], "imagez1v": 1}'])
def test_a_member_whose_name_may_be_private_is_not_repeated(text: bytes) -> None:
    body = JsonBody(max_images=4)
    body.feed(text)
    with pytest.raises(MalformedJson) as raised:
        body.finish()

    assert UNDOCUMENTED_MEMBER in [row["detail"] for row in raised.value.members["errors"]]
    assert "1v" not in str(raised.value.problem())
