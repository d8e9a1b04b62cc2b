"""Entity tags and `If-None-Match`."""

import pytest
from starlette.requests import Request

from service.errors import PreconditionFailed
from service.gateway.http.etag import check, entity_tag


def request(path: str = "/v1/classify", query: str = "", **headers: str) -> Request:
    rows = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request(
        {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": query.encode(),
            "headers": rows,
            "server": ("x", 1),
        }
    )


def test_a_tag_tells_apart_whatever_an_answer_depends_on() -> None:
    tags = {
        entity_tag(request(), [b"ab", b"c"]),
        entity_tag(request(), [b"a", b"bc"]),
        entity_tag(request("/v1/segment"), [b"ab", b"c"]),
        entity_tag(request(query="top_k=3"), [b"ab", b"c"]),
        entity_tag(request(accept="image/png"), [b"ab", b"c"]),
    }

    assert len(tags) == 5
    assert entity_tag(request(), [b"ab", b"c"]) in tags
    assert all(tag.startswith('W/"') for tag in tags)


@pytest.mark.parametrize("sent", ['W/"abc"', '"abc"', '"x", W/"abc"', '"x,y",W/"abc"'])
def test_the_tag_of_the_answer_fails_the_condition(sent: str) -> None:
    with pytest.raises(PreconditionFailed):
        check(request(if_none_match=sent), 'W/"abc"')


@pytest.mark.parametrize("sent", ["*", '"ab"', 'W/"abcd"', "abc", ""])
def test_other_tags_and_none_let_the_answer_be_sent(sent: str) -> None:
    check(request(if_none_match=sent), 'W/"abc"')
