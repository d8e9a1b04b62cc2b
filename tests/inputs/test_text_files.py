"""Text files as editors and spreadsheets save them: each reader of one accepts or names the same."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from service.config import api_keys, traffic
from service.config.log_settings import LogSettings, changed_by
from service.gateway.access import jwt
from service.measure.accuracy import coco, datasets
from service.models import cards, labels, zoo
from tests.gateway.fixtures.token_issuer import SET
from tests.stores import write_store

KEY = f"pets classify {hashlib.sha256(b'secret').hexdigest()}\n"
TRAFFIC = '[tiny-classifier]\nweights = { "1.0" = 1 }\n'
INDEX = "image,label,split,mask,mask_kind\na.jpg,cat,test,,\n"
COCO = """{
  "images": [{"id": 4, "file_name": "a.jpg", "width": 20, "height": 10}],
  "categories": [{"id": 17, "name": "r\u00fcde"}],
  "annotations": [{"image_id": 4, "category_id": 17, "bbox": [2, 2, 6, 6]}]
}
"""


def card_text(folder: Path) -> str:
    store = write_store(folder / "written", "tiny-classifier", weights=False)
    return (store / "tiny-classifier" / "card.toml").read_text(encoding="utf-8")


def read_card(path: Path) -> object:
    folder = path.parent / "tiny-classifier"
    folder.mkdir()
    path.rename(folder / "card.toml")
    return cards.parse(folder).model_copy(update={"folder": Path()})


def read_traffic(path: Path) -> object:
    store = write_store(path.parent / "store", "tiny-classifier", weights=False)
    return traffic.read(path, zoo.read_all(store).values())


def read_index(path: Path) -> object:
    root = path.parent / "photos"
    root.mkdir()
    (root / "a.jpg").touch()
    path.rename(root / "index.csv")
    return [image.label for image in datasets.read(root).images]


def read_coco(path: Path) -> object:
    target = path.parent / "annotations" / "instances_val.json"
    target.parent.mkdir()
    path.rename(target)
    return [image.instances for image in coco.read(path.parent, "")]


# The text of each kind, and what reads it.
KINDS: dict[str, tuple[Callable[[Path], str], Callable[[Path], object]]] = {
    "labels": (lambda _: "cat\nrüde\n", lambda path: labels.read(path, table=False)),
    "label set": (lambda _: "class_id\tlabel\n0\tcat\n1\trüde\n", lambda path: labels.read(path, table=True)),
    "card": (card_text, read_card),
    "API keys": (lambda _: KEY, api_keys.read),
    "traffic shares": (lambda _: TRAFFIC, read_traffic),
    "index.csv": (lambda _: INDEX, read_index),
    "COCO annotations": (lambda _: COCO, read_coco),
    "log settings": (lambda _: 'level = "debug"\n', lambda path: changed_by(LogSettings(), path)),
    "key set": (lambda _: json.dumps(SET), lambda path: [key.key_id for key in jwt.parse(path.read_bytes())]),
}
FORMS: dict[str, Callable[[str], bytes]] = {
    "a byte order mark": lambda text: text.encode("utf-8-sig"),
    "line ends of Windows": lambda text: text.replace("\n", "\r\n").encode(),
    "both": lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"),
    "empty lines at the end": lambda text: f"{text}\n \n".encode(),
}
FOREIGN = {"UTF-16": "utf-16", "UTF-32": "utf-32"}


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str, Callable[[str], bytes]], object]:
    """Return a function that reads a kind of text in a form."""
    count = iter(range(9))

    def run(kind: str, form: Callable[[str], bytes]) -> object:
        folder = tmp_path / str(next(count))
        folder.mkdir()
        text, reader = KINDS[kind]
        (folder / "file").write_bytes(form(text(folder)))
        return reader(folder / "file")

    return run


Read = Callable[[str, Callable[[str], bytes]], object]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_an_editor_adds_to_a_file_changes_nothing(read: Read, kind: str, form: str) -> None:
    assert read(kind, FORMS[form]) == read(kind, str.encode)


@pytest.mark.parametrize("encoding", FOREIGN)
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_encoding_is_refused_with_the_cure(read: Read, kind: str, encoding: str) -> None:
    with pytest.raises(ValueError, match=f"it is {encoding}; save it as UTF-8"):
        read(kind, lambda text: text.encode(FOREIGN[encoding]))


def test_labels_have_no_blanks_around_them_and_are_composed(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat \n dog\ncafe\u0301\t#ff0000 \n", encoding="utf-8")
    assert [label.label for label in labels.read(tmp_path / "labels.txt", table=False)] == ["cat", "dog", "caf\u00e9"]
