"""Import of a checkpoint as a model of the store."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from service import engines, networks
from service.models import cards, zoo
from service.models.inputs import Input
from service.models.model_folder import RESERVED
from service.models.weights import checksums
from service.models.weights.checksums import WeightsError
from service.models.weights.importing import ImportSpec, import_checkpoint, voc_colour
from service.tasks import task_of_network
from tests.models.weights.checkpoints import CLASSES, State, made_state, pth, zipped
from tests.models.weights.conftest import visible

STORE = Path(__file__).parents[3] / "model_store"
SETS = STORE / "labels"


def spec(name: str, network: str, labels: str, **more: Any) -> ImportSpec:
    """Return the description of a checkpoint, with the task that its network is for."""
    task = task_of_network(network, "own")
    return ImportSpec(
        name, network, labels, task.name, task.imported_input(network), has_colours=task.has_colours, **more
    )


@pytest.fixture(scope="module")
def state() -> State:
    return made_state()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def file(tmp_path: Path, state: State) -> Path:
    path = tmp_path / "mine.pth"
    path.write_bytes(pth({"state_dict": state, "epoch": 9}))
    return path


@pytest.fixture
def labels(tmp_path: Path) -> str:
    path = tmp_path / "labels.txt"
    path.write_text("rüde\nkatze\n犬\n", encoding="utf-8")
    return str(path)


def test_a_fine_tuned_classifier_is_served_with_its_own_labels(store: Path, file: Path, labels: str) -> None:
    folder = import_checkpoint(store, spec("mine", "resnest14", labels, size=64), file).folder
    card = zoo.read_all(store)["mine"]
    assert (card.task, card.network.classes, card.input.profile, card.input.size) == (
        "classification",
        3,
        "official",
        64,
    )
    assert [each.label for each in card.classes] == ["rüde", "katze", "犬"]
    assert sorted(visible(folder)) == ["card.toml", "labels.txt", "weights/mine.safetensors"]
    checksums.verify(card)
    scores = engines.load(card, "cpu")(np.zeros((1, 64, 64, 3), np.uint8))["scores"]
    assert scores.shape == (1, 3)


def test_labels_in_another_order_than_the_checkpoint_states_are_refused(
    store: Path, tmp_path: Path, state: State, labels: str
) -> None:
    file = tmp_path / "ordered.pth"
    file.write_bytes(pth({"state_dict": state, "class_to_idx": {"katze": 0, "rüde": 1, "犬": 2}}))
    with pytest.raises(WeightsError, match=r"ordered\.pth: .* in class_to_idx that class 0 is katze"):
        import_checkpoint(store, spec("mine", "resnest14", labels), file)
    assert not list(store.iterdir())

    file.write_bytes(pth({"state_dict": state, "class_to_idx": {"rüde": 0, "katze": 1, "犬": 2}}))
    import_checkpoint(store, spec("mine", "resnest14", labels), file)


def test_the_published_file_of_another_network_is_refused(store: Path, file: Path, labels: str) -> None:
    """Both networks have the same keys and shapes, so nothing else would tell them apart."""
    fast, usual = (networks.build(name, classes=3).state_dict() for name in ("resnest50_fast_2s1x64d", "resnest50"))
    assert {key: value.shape for key, value in fast.items()} == {key: value.shape for key, value in usual.items()}

    shutil.copytree(STORE / "resnest50_fast_2s1x64d", store / "fast", ignore=shutil.ignore_patterns("weights"))
    card = (store / "fast" / "card.toml").read_text(encoding="utf-8")
    published = re.search(r'sha256 = "([0-9a-f]{8})"', card)
    assert published
    card = card.replace(published[1], checksums.sha256(file)[:8])
    (store / "fast" / "card.toml").write_text(card, encoding="utf-8")
    with pytest.raises(WeightsError, match="published file of resnest50_fast_2s1x64d, whose network is"):
        import_checkpoint(store, spec("mine", "resnest14", labels), file)


@pytest.mark.parametrize(("size", "expected"), [(None, (1333, 800)), (666, (666, 400)), (400, (400, 240))])
def test_the_short_side_of_the_input_follows_the_size(size: int | None, expected: tuple[int, int]) -> None:
    table = spec("mine", "mask_rcnn_resnet50", "labels", size=size).input_table()
    assert (table["size"], table["short"]) == expected
    Input.model_validate(table)


@pytest.mark.parametrize("text", ['["rüde", "katze", "犬"]', '{\n "0": "rüde",\n "1": "katze"\n}'])
def test_labels_in_json_are_refused(store: Path, file: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.json").write_text(text, encoding="utf-8")
    with pytest.raises(WeightsError, match="are JSON; write one label on each line"):
        import_checkpoint(store, spec("mine", "resnest14", str(tmp_path / "labels.json")), file)


def test_a_further_version_stands_beside_the_model_and_takes_its_name(store: Path, file: Path, labels: str) -> None:
    import_checkpoint(store, spec("mine", "resnest14", labels), file)
    folder = import_checkpoint(store, spec("mine", "resnest14", labels, version="2.0"), file).folder
    assert folder == store / "mine@2.0"
    assert {name: card.folder.name for name, card in zoo.read_all(store).items()} == {
        "mine": "mine@2.0",
        "mine@1.0": "mine",
    }
    for version in ("1.0", "2.0"):
        with pytest.raises(WeightsError, match="exists already; import a further version with --version"):
            import_checkpoint(store, spec("mine", "resnest14", labels, version=version), file)
    with pytest.raises(WeightsError, match="version"):
        import_checkpoint(store, spec("mine", "resnest14", labels, version="new"), file)
    assert sorted(path.name for path in store.iterdir() if path.is_dir()) == ["mine", "mine@2.0"]


def test_a_segmenter_gets_colours_where_its_labels_have_none(store: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("background\ncat\t#102030\ndog\n", encoding="utf-8")
    (tmp_path / "mine.zip").write_bytes(zipped(mine__pth=pth(made_state("fcn_resnest14"))))
    import_checkpoint(
        store,
        spec("pets", "fcn_resnest14", str(tmp_path / "labels.txt"), profile="encoding"),
        tmp_path / "mine.zip",
    )
    card = zoo.read_all(store)["pets"]
    assert (card.task, card.input.profile, card.input.size) == ("segmentation", "proportional", 520)
    assert [each.hex_color for each in card.classes] == ["#000000", "#102030", "#008000"]
    assert sorted(visible(store / "pets")) == ["card.toml", "labels.txt", "weights/pets.safetensors"]


@pytest.mark.parametrize(
    ("first", "colours"),
    [
        ("Background", ["#000000", "#102030", "#008000"]),
        ("road", ["#800000", "#102030", "#808000"]),
        ("wall\t#010203", ["#010203", "#102030", "#808000"]),
        ("not a background", ["#800000", "#102030", "#808000"]),
    ],
)
def test_only_a_background_is_black_which_overlays_leave_clear(
    first: str, colours: list[str], store: Path, tmp_path: Path
) -> None:
    (tmp_path / "labels.txt").write_text(f"{first}\ncat\t#102030\ndog\n", encoding="utf-8")
    (tmp_path / "mine.zip").write_bytes(zipped(mine__pth=pth(made_state("fcn_resnest14"))))
    described = spec("pets", "fcn_resnest14", str(tmp_path / "labels.txt"), profile="encoding")
    import_checkpoint(store, described, tmp_path / "mine.zip")
    assert [each.hex_color for each in zoo.read_all(store)["pets"].classes] == colours


def test_a_shared_set_of_labels_is_named_and_not_copied(store: Path, tmp_path: Path) -> None:
    (store / "labels").mkdir()
    (store / "labels" / "pets.tsv").write_text("class_id\tlabel\n0\tcat\n1\tdog\n2\tfish\n", encoding="utf-8")
    (tmp_path / "mine.pth").write_bytes(pth(made_state()))
    folder = import_checkpoint(store, spec("mine", "resnest14", "pets"), tmp_path / "mine.pth").folder
    assert [each.label for each in cards.read(folder).classes] == ["cat", "dog", "fish"]
    assert not (folder / "labels.txt").exists()


def test_the_colour_map_is_that_of_pascal_voc() -> None:
    rows = (SETS / "voc_21.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert [voc_colour(index) for index in range(21)] == [row.split("\t")[2] for row in rows]
    assert len({voc_colour(index) for index in range(512)}) == 512


@pytest.mark.parametrize("name", ["", ".", "..", "../mine", "Mine", "mi ne", "-mine", "a" * 65, *RESERVED])
def test_a_name_that_is_none_is_refused(store: Path, file: Path, labels: str, name: str) -> None:
    with pytest.raises(WeightsError, match="is not a model name"):
        import_checkpoint(store, spec(name, "resnest14", labels), file)
    assert list(store.iterdir()) == []


def test_a_name_that_is_taken_is_refused(store: Path, file: Path, labels: str) -> None:
    (store / "mine").mkdir()
    with pytest.raises(WeightsError, match="exists already"):
        import_checkpoint(store, spec("mine", "resnest14", labels), file)
    assert [path.name for path in store.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat\ndog\n", r"the weight fc\.bias is \(3,\), but the network has \(2,\); .*few\.txt has 2 classes$"),
        ("cat\n\ndog\n", "label 1 is empty"),
        (None, "cannot be read"),
    ],
    ids=["too few", "an empty line", "no file"],
)
def test_labels_that_do_not_fit_leave_the_store_as_it_was(
    store: Path, file: Path, tmp_path: Path, text: str | None, message: str
) -> None:
    path = tmp_path / "few.txt"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(WeightsError, match=message):
        import_checkpoint(store, spec("mine", "resnest14", str(path)), file)
    assert list(store.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "network", "message"),
    [
        (pth({"fc.bias": torch.ones(CLASSES)}), "resnest14", "missing"),
        (pth({"fc.bias": torch.ones(CLASSES)}), "resnest15", "there is no network resnest15"),
        (b"", "resnest14", "is not a checkpoint"),
        (zipped(readme__txt=b""), "resnest14", "holds 0 checkpoints, expected 1: readme"),
    ],
    ids=["other keys", "no such network", "empty", "a zip without weights"],
)
def test_a_checkpoint_that_does_not_fit_leaves_the_store_as_it_was(
    store: Path, labels: str, tmp_path: Path, content: bytes, network: str, message: str
) -> None:
    (tmp_path / "odd.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=f"^mine: .*{message}"):
        import_checkpoint(store, spec("mine", network, labels), tmp_path / "odd.pth")
    assert list(store.iterdir()) == []


def test_a_store_that_is_not_there_is_told(tmp_path: Path, file: Path, labels: str) -> None:
    with pytest.raises(WeightsError, match="No such file or directory"):
        import_checkpoint(tmp_path / "nowhere", spec("mine", "resnest14", labels), file)


def test_empty_lines_at_the_end_of_the_labels_are_no_classes(store: Path, file: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\r\ndog\r\nfrog\r\n\r\n", encoding="utf-8")
    folder = import_checkpoint(store, spec("mine", "resnest14", str(tmp_path / "labels.txt")), file).folder
    assert [label.label for label in cards.read(folder).classes] == ["cat", "dog", "frog"]


def test_labels_of_no_line_are_refused(store: Path, file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    with pytest.raises(WeightsError, match=r"^mine: the labels .*empty\.txt are empty$"):
        import_checkpoint(store, spec("mine", "resnest14", str(tmp_path / "empty.txt")), file)
    assert list(store.iterdir()) == []


def test_a_licence_that_is_not_utf_8_is_refused(store: Path, file: Path, labels: str) -> None:
    with pytest.raises(WeightsError, match=r"^mine: an argument is not UTF-8$"):
        import_checkpoint(store, spec("mine", "resnest14", labels, licence="\udcff"), file)
    assert list(store.iterdir()) == []
