"""Model cards: which values are valid, and that an error names the key of each mistake."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.models import cards, zoo
from service.models.cards import CardError, ModelCard
from service.models.inputs import Input

CARD = """
name = "pets"
version = "1.2"
task = "segmentation"
summary = "Cats and dogs."
licence = "Apache-2.0"
source = "Trained here."
[network]
name = "deeplab_resnest14"
classes = 3
[weights]
file = "weights.safetensors"
sha256 = "{sha256}"
[input]
profile = "proportional"
size = 480
""".format(sha256="0a" * 32)

LABELS = "background\t#000000\ncat\t#ff8000\ndog\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def folder(card: str = CARD, labels: str | bytes | None = LABELS, name: str = "pets") -> Path:
        path = tmp_path / name
        path.mkdir()
        (path / "card.toml").write_text(card, encoding="utf-8")
        if labels is not None:
            (path / "labels.txt").write_bytes(labels if isinstance(labels, bytes) else labels.encode())
        return path

    return folder


Write = Callable[..., Path]


def test_a_card_is_read_with_its_labels(write: Write) -> None:
    folder = write()
    card = cards.read(folder)
    assert (card.name, card.version, card.task) == ("pets", "1.2", "segmentation")
    assert [(each.class_id, each.label, each.color, each.hex_color) for each in card.classes] == [
        (0, "background", (0, 0, 0), "#000000"),
        (1, "cat", (255, 128, 0), "#ff8000"),
        (2, "dog", (0, 0, 0), "#000000"),
    ]
    assert card.weights_path == folder / "weights.safetensors"


def test_what_a_card_leaves_out_has_the_documented_value(write: Write) -> None:
    card = cards.read(write())
    assert card.input == Input(
        profile="proportional",
        size=480,
        crop_ratio=0.875,
        interpolation="bicubic",
        multiple=1,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    assert (card.serving.batch_size, card.serving.max_batch_delay_ms, card.serving.workers) == (8, 0, 1)
    assert (card.weights.format, card.weights.profile, card.weights.urls) == ("safetensors", "official", ())
    assert (card.published, card.measured) == ({}, {})


def test_a_card_cannot_be_changed(write: Write) -> None:
    card = cards.read(write())
    with pytest.raises(ValidationError, match="frozen"):
        card.name = "other"


def test_the_folder_is_no_part_of_the_card_that_is_shown(write: Write) -> None:
    assert "folder" not in cards.read(write()).model_dump()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param('name = "pets"', 'name = "Pets!"', "name: ", id="a name with signs"),
        pytest.param('name = "pets"', 'name = "../pets"', "name: ", id="a name that is a path"),
        pytest.param('"1.2"', '"1.2-beta"', "version: ", id="a version that is not numbers"),
        pytest.param('"segmentation"\nsummary', '"Detection!"\nsummary', "task: ", id="another task"),
        pytest.param("classes = 3", "classes = 0", "network.classes: ", id="no classes"),
        pytest.param("0a0a", "XYZW", "weights.sha256: ", id="no checksum"),
        pytest.param("size = 480", "size = 31", "input.size: ", id="too small an input"),
        pytest.param("size = 480", "size = 4097", "input.size: ", id="too large an input"),
        pytest.param("size = 480", "size = 480\nstd = [1, 0, 1]", "input.std.1: ", id="a standard deviation of 0"),
        pytest.param("size = 480", "size = 480\nshort = 481", "input: Value error, the short", id="too large a short"),
        pytest.param("size = 480", "size = 480\ncrop = 1", "input.crop: ", id="an unknown key"),
        pytest.param('licence = "Apache-2.0"', "", "licence: ", id="no licence"),
        pytest.param("[network]", "[serving]\nworkers = 0\n[network]", "serving.workers: ", id="no workers"),
    ],
)
def test_a_mistake_in_a_card_is_told_by_its_place(write: Write, old: str, new: str, message: str) -> None:
    with pytest.raises(CardError) as caught:
        cards.read(write(CARD.replace(old, new)))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        *[
            ('file = "weights', f'file = "{path}', "weights.file: Value error, it must")
            for path in ("../", "/", "a/../../b")
        ],
        ("[input]", '[labels]\nfile = "../labels.txt"\n[input]', "labels.file: Value error, it must name a file"),
        ("size = 480", "size = 480\nmean = [nan, 0, 0]", "input.mean.0: "),
        ("size = 480", "size = 480\nstd = [inf, 1, 1]", "input.std.0: "),
        ("[input]", "[serving]\ndeadline_s = inf\n[input]", "serving.deadline_s: "),
        ("[input]", "[serving]\nworkers = 1000\n[input]", "serving.workers: "),
    ],
)
def test_what_no_worker_could_be_started_with_is_refused(write: Write, old: str, new: str, message: str) -> None:
    with pytest.raises(CardError, match=re.escape(message)):
        cards.read(write(CARD.replace(old, new)))


def test_every_mistake_is_told_at_once(write: Write) -> None:
    with pytest.raises(CardError, match=r"version: .*; input\.size: "):
        cards.read(write(CARD.replace('"1.2"', '"x"').replace("480", "1")))


def test_a_card_that_is_not_toml_cannot_be_read(write: Write) -> None:
    with pytest.raises(CardError, match="cannot be read"):
        cards.read(write("name ="))


def test_a_folder_without_a_card_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="cannot be read"):
        cards.read(tmp_path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        pytest.param(None, "cannot be read", id="no file"),
        pytest.param(b"\xff\xfe\xff", "cannot be read", id="not UTF-8"),
        pytest.param("cat\ndog\n", "has 2 labels for 3 classes", id="too few"),
        pytest.param("a\nb\nc\nd\n", "has 4 labels for 3 classes", id="too many"),
        pytest.param("a\nb\tred\nc\n", "label 1 has the colour 'red'", id="a colour's name"),
        pytest.param("a\nb\t#12345z\nc\n", "not #rrggbb", id="not hexadecimal"),
        pytest.param("a\nb\t#12 34 \nc\n", "not #rrggbb", id="two bytes and blanks"),
        pytest.param("a\n\t#123456\nc\n", "label 1 is empty", id="a colour without a name"),
        pytest.param("a\n\nc\n", "label 1 is empty", id="a blank line"),
    ],
)
def test_labels_that_do_not_fit_the_network_are_refused(write: Write, labels: Any, message: str) -> None:
    with pytest.raises(CardError, match=message):
        cards.read(write(labels=labels))


def test_a_label_may_hold_any_letters_and_occur_twice(write: Write) -> None:
    labels = [each.label for each in cards.read(write(labels="крейн\ncrane\ncrane\n")).classes]
    assert labels == ["крейн", "crane", "crane"]


SET = CARD.replace("[input]", '[labels]\nset = "pets_3"\n[input]')
ROWS = 'class_id\tlabel\tcolor\tnote\n0\tbackground\t#000000\t\n1\tcat\t#ff8000\tpurrs\n2\t"dog"\t\t\n'


def share(store: Path, rows: str = ROWS) -> None:
    (store / "labels").mkdir()
    (store / "labels" / "pets_3.tsv").write_text(rows, encoding="utf-8")


def test_a_card_may_take_its_labels_from_a_shared_set(write: Write, tmp_path: Path) -> None:
    share(tmp_path)
    card = cards.read(write(SET, labels=None))
    assert [(each.label, each.hex_color, each.wnid) for each in card.classes] == [
        ("background", "#000000", None),
        ("cat", "#ff8000", None),
        ('"dog"', "#000000", None),
    ]


def test_a_sets_copy_beside_the_card_goes_before_the_stores(write: Write, tmp_path: Path) -> None:
    share(tmp_path, "nothing")
    folder = write(SET, labels=None)
    (folder / "pets_3.tsv").write_text("class_id\tlabel\twnid\n0\ta\tn01\n1\tb\tn02\n2\tc\tn03\n", encoding="utf-8")
    assert [(each.label, each.wnid) for each in cards.read(folder).classes] == [
        ("a", "n01"),
        ("b", "n02"),
        ("c", "n03"),
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param(ROWS.replace("1\tcat", "7\tcat"), "row 1 of the label set is not class 1", id="a gap"),
        pytest.param(ROWS.replace("class_id", "id"), "row 0 of the label set", id="no class ids"),
        pytest.param(ROWS.replace("\tlabel", "\tname"), "label 0 is empty", id="no labels"),
        pytest.param(ROWS.replace("#ff8000", "orange"), "label 1 has the colour 'orange'", id="a colour's name"),
        pytest.param(ROWS.replace('2\t"dog"\t\t\n', ""), "has 2 labels for 3 classes", id="too few"),
        pytest.param(ROWS.replace("purrs", "purrs" * 100_000), "cannot be read", id="a field above the limit of csv"),
    ],
)
def test_a_shared_set_that_does_not_fit_is_refused(write: Write, tmp_path: Path, rows: str, message: str) -> None:
    share(tmp_path, rows)
    with pytest.raises(CardError, match=message):
        cards.read(write(SET, labels=None))


def test_a_set_that_is_not_there_cannot_be_read(write: Write) -> None:
    with pytest.raises(CardError, match="cannot be read"):
        cards.read(write(SET, labels=None))


PULLED = CARD.replace(
    f'sha256 = "{"0a" * 32}"', '[[weights.sources]]\nurls = ["https://example.org/a.pth"]\nsha256 = "0a0a0a0a"'
)


def test_the_checksum_is_the_cards_own_where_it_has_one(write: Write) -> None:
    folder = write()
    (folder / "weights.safetensors.sha256").write_text(f"{'0b' * 32}  weights.safetensors\n", encoding="utf-8")
    assert cards.read(folder).checksum == "0a" * 32


def test_the_checksum_of_pulled_weights_is_the_recorded_one(write: Write) -> None:
    folder = write(PULLED)
    card = cards.read(folder)
    assert card.checksum is None
    card.checksum_path.write_text(f"# pulled\n{'0b' * 32}  weights.safetensors\n", encoding="utf-8")
    assert card.checksum == "0b" * 32


@pytest.mark.parametrize("record", [b"", b"0b0b  weights.safetensors\n", b"\xff\xfe", b"ZZ" * 32 + b"  weights\n"])
def test_a_record_that_says_nothing_is_as_good_as_none(write: Write, record: bytes) -> None:
    card = cards.read(write(PULLED))
    card.checksum_path.write_bytes(record)
    assert card.checksum is None


@pytest.mark.parametrize(
    ("card", "message"),
    [
        pytest.param(CARD.replace(f'sha256 = "{"0a" * 32}"', ""), "weights need a sha256, or sources", id="nothing"),
        pytest.param(PULLED.replace('sha256 = "0a0a0a0a"', ""), "a source needs a sha256", id="a bare source"),
        pytest.param(PULLED.replace("0a0a0a0a", "0a0a"), "weights.sources.0.sha256: ", id="four digits"),
        pytest.param(PULLED.replace("https:", "file:"), "weights.sources.0.urls.0: ", id="an address that is a file"),
    ],
)
def test_weights_that_cannot_be_checked_are_refused(write: Write, card: str, message: str) -> None:
    with pytest.raises(CardError) as caught:
        cards.read(write(card))
    assert message in str(caught.value)


def test_a_model_without_its_weights_is_in_the_zoo_and_not_served(write: Write) -> None:
    store = write(name="a").parent
    write(PULLED.replace('"pets"', '"flowers"'), labels=None, name="b")
    assert list(zoo.read_zoo(store)) == ["pets", "flowers"]
    assert list(zoo.read_all(store)) == ["pets"]


def test_all_that_a_network_is_built_with_stands_on_its_card(write: Write) -> None:
    card = cards.read(write(CARD.replace("classes = 3", "classes = 3\nparameters = 10\nhead_channels = 64")))
    assert card.network.arguments() == {
        "name": "deeplab_resnest14", "classes": 3, "output_stride": None, "head_channels": 64, "auxiliary": True,
    }  # fmt: skip


def test_all_cards_of_a_store_are_found_by_name(write: Write) -> None:
    store = write(name="a").parent
    write(CARD.replace('"pets"', '"flowers"'), name="b")
    (store / "recipes").mkdir()
    found = zoo.read_all(store)
    assert {name: card.folder.name for name, card in found.items()} == {"pets": "a", "flowers": "b"}


def test_an_empty_store_has_no_cards(tmp_path: Path) -> None:
    assert zoo.read_all(tmp_path) == {}


def test_a_card_knows_its_network_and_stride(write: Write) -> None:
    card: ModelCard = cards.read(write(CARD.replace("classes = 3", "classes = 3\noutput_stride = 8")))
    assert (card.network.name, card.network.classes, card.network.output_stride) == ("deeplab_resnest14", 3, 8)
