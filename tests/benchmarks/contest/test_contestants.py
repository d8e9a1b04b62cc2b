"""Tests of how each contestant is installed and what it is sent."""

import base64
import json
import re
import struct

import pytest

from benchmarks.contest.contestants import CONTESTANTS, HERE, ROOT, Contestant
from service.measure.load.corpus import CorpusImage

IMAGE = CorpusImage("cat.jpg", "image/jpeg", b"\xff\xd8 an image")


def sent(name: str) -> tuple[str, bytes]:
    """Return the head and the body of a request."""
    (request,) = CONTESTANTS[name].requests(8123, [IMAGE], "classification")
    head, _, body = request.wire.partition(b"\r\n\r\n")
    return head.decode(), body


@pytest.mark.parametrize("contestant", CONTESTANTS.values(), ids=lambda each: each.name)
def test_every_contestant_has_a_program_and_a_version(contestant: Contestant) -> None:
    assert (HERE / "servers" / f"{contestant.name}_server.py").is_file()
    assert re.match(r"\d", contestant.version)


def test_every_package_of_an_environment_is_pinned() -> None:
    files = sorted((HERE / "requirements").glob("*.txt"))
    loose = [
        (path.name, line)
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        if not re.fullmatch(r"[\w.\-\[\]]+==[\w.+!]+", line)
    ]

    assert {path.stem for path in files} == {each.name for each in CONTESTANTS.values() if each.pinned}
    assert not loose


@pytest.mark.parametrize("name", ["ours", "mosec", "ray", "torchserve"])
def test_a_body_is_the_picture(name: str) -> None:
    head, body = sent(name)

    assert body == IMAGE.content
    assert "Content-Type: image/jpeg" in head


def test_our_route_is_that_of_the_task() -> None:
    ours = CONTESTANTS["ours"]

    assert ours.url(8123, "classification") == "http://127.0.0.1:8123/v1/classify"
    assert ours.url(8123, "segmentation") == "http://127.0.0.1:8123/v1/segment"


@pytest.mark.parametrize(("name", "field"), [("litserve", "file"), ("bentoml", "images"), ("fastapi", "file")])
def test_a_form_has_the_picture_in_the_servers_own_field(name: str, field: str) -> None:
    head, body = sent(name)

    assert "multipart/form-data" in head
    assert f'name="{field}"'.encode() in body
    assert IMAGE.content in body


def test_a_tensor_in_json_holds_the_picture_in_base64() -> None:
    tensor = json.loads(sent("mlserver")[1])["inputs"][0]

    assert (tensor["datatype"], tensor["shape"]) == ("BYTES", [1, 1])
    assert base64.b64decode(tensor["data"][0]) == IMAGE.content


def test_a_binary_tensor_follows_its_description_with_its_length_before_it() -> None:
    head, body = sent("pytriton")
    found = re.search(r"Inference-Header-Content-Length: (\d+)", head)
    assert found
    document, data = json.loads(body[: int(found[1])]), body[int(found[1]) :]

    assert document["inputs"][0]["parameters"]["binary_data_size"] == len(data)
    assert struct.unpack("<I", data[:4]) == (len(IMAGE.content),)
    assert data[4:] == IMAGE.content


def test_an_environment_of_ones_own_is_not_this_one() -> None:
    assert CONTESTANTS["mosec"].python != CONTESTANTS["ours"].python
    assert CONTESTANTS["mosec"].python.is_relative_to(ROOT / "benchmarks" / ".venvs")
