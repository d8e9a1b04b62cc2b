"""The command `evaluate`, from its options to its reports."""

import hashlib
import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from service.cli import terminal
from service.cli.main import main
from tests.stores import FLOWERS_AND_PETS, write_store


def call(store: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["evaluate", "--store", str(store), *map(str, arguments)])


@pytest.fixture
def photos(tmp_path: Path, images: npt.NDArray[np.uint8]) -> Path:
    """Return a folder with a folder for each of two labels, with three images each."""
    for label, three in zip(FLOWERS_AND_PETS[:2], (images[:3], images[3:]), strict=True):
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True)
        for place, picture in enumerate(three):
            Image.fromarray(picture).save(folder / f"{place}.png")
    return tmp_path / "photos"


@pytest.fixture
def masks(tmp_path: Path, images: npt.NDArray[np.uint8]) -> Path:
    for name in ("images", "masks"):
        (tmp_path / "pairs" / name).mkdir(parents=True)
    Image.fromarray(images[0]).save(tmp_path / "pairs" / "images" / "a.png")
    Image.fromarray(np.ones((64, 64), np.uint8)).save(tmp_path / "pairs" / "masks" / "a.png")
    return tmp_path / "pairs"


def test_two_classifiers_are_scored_side_by_side(store: Path, photos: Path) -> None:
    models = ("tiny-classifier", "tiny-classifier-b")
    told = json.loads(call(store, *models, photos, "--format", "json").stdout)["models"]
    assert [model["model"] for model in told] == list(models)
    assert [model["images"] for model in told] == [6, 6]
    table = call(store, *models, photos).stdout
    assert all(f"{100 * model['top1']:.2f}" in table for model in told)
    assert call(store, *models, photos, "--format", "csv").stdout.startswith("model,version,figure,label,value\n")


def test_a_segmenter_is_scored_on_pairs_of_pictures_and_masks(store: Path, masks: Path) -> None:
    (model,) = json.loads(call(store, "tiny-segmenter", masks, "--format", "json").stdout)["models"]
    assert 0 < model["mean_iou"] < 1
    assert set(model["iou"]) <= {"background", "cat", "dog"}


def test_a_detector_is_scored_on_a_folder_in_the_layout_of_coco(
    store: Path, images: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    root, into = tmp_path / "coco", tmp_path / "report"
    (root / "annotations").mkdir(parents=True)
    (root / "val2017").mkdir()
    Image.fromarray(images[0]).save(root / "val2017" / "a.png")
    corners = [8.0, 8.0, 40.0, 8.0, 40.0, 56.0, 8.0, 56.0]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 64}],
        "categories": [{"id": 17, "name": "cat"}],
        "annotations": [
            {"image_id": 1, "category_id": 17, "bbox": [8, 8, 32, 48], "area": 1536, "segmentation": [corners]}
        ],
    }
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content), encoding="utf-8")

    told = call(store, "tiny-detector", root, "--into", into)

    (model,) = json.loads((into / "report.json").read_text(encoding="utf-8"))["models"]
    assert "BOX AP" in told.stdout
    assert all(0 <= model[name] <= 1 for name in ("box_ap", "box_ap50", "mask_ap", "mask_ap_medium"))
    assert model["mask_ap_small"] is None
    assert set(model["boxes"]["by_label"]) == set(model["masks"]["by_label"]) == {"cat"}
    assert {"precision-recall-tiny-detector.png", "ap-detection.png"} <= {path.name for path in into.iterdir()}


def test_a_folder_gets_every_report_and_the_plots_and_is_not_computed_twice(
    store: Path, photos: Path, tmp_path: Path
) -> None:
    into = tmp_path / "report"
    first = call(store, "tiny-classifier", photos, "--into", into)
    assert first.exit_code == 0, first.output
    page = (into / "report.md").read_text(encoding="utf-8")
    written = {path.name for path in into.iterdir()}
    assert written >= {"report.md", "report.json", "report.csv", "answers-tiny-classifier.jsonl"}
    assert all(f"]({name})" in page for name in written if name.endswith(".png"))
    journal = into / "answers-tiny-classifier.jsonl"
    journal.write_text(
        journal.read_text(encoding="utf-8").replace('"confidence": 0', '"confidence": 1'), encoding="utf-8"
    )
    again = call(store, "tiny-classifier", photos, "--into", into)
    assert again.exit_code == 0
    assert first.stdout != again.stdout


def test_a_folder_with_the_answers_of_another_run_is_refused_before_a_model_is_scored(
    store: Path, photos: Path, tmp_path: Path
) -> None:
    into = tmp_path / "report"
    assert call(store, "tiny-classifier", photos, "--into", into).exit_code == 0
    before = {path.name: path.read_bytes() for path in into.iterdir()}
    (photos / "dog" / "0.png").unlink()

    refused = call(store, "tiny-classifier-b", "tiny-classifier", photos, "--into", into)

    assert refused.exit_code == 1
    assert "answers-tiny-classifier.jsonl has the answers of another run" in refused.stderr
    assert "the number of images" in refused.stderr
    assert {path.name: path.read_bytes() for path in into.iterdir()} == before


def test_without_matplotlib_every_report_is_written_and_the_plots_are_told_to_be_missing(
    store: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    into = tmp_path / "report"
    result = call(store, "tiny-classifier", photos, "--into", into)
    assert result.exit_code == 0, result.output
    assert "they need matplotlib" in result.stderr
    assert {path.name for path in into.iterdir()} == {
        "report.md",
        "report.json",
        "report.csv",
        "answers-tiny-classifier.jsonl",
    }
    assert "tiny-classifier" in (into / "report.md").read_text(encoding="utf-8")


@pytest.fixture
def own_store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store")


def test_weights_that_are_missing_or_others_are_told_before_a_model_is_scored(
    own_store: Path, photos: Path, tmp_path: Path
) -> None:
    weights = own_store / "tiny-classifier-b" / "weights.safetensors"
    for spoil, told in ((partial(weights.write_bytes, b"others"), "has the SHA-256"), (weights.unlink, "cannot be")):
        spoil()
        result = call(own_store, "tiny-classifier", "tiny-classifier-b", photos, "--into", tmp_path / "report")
        assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
        assert told in result.stderr
        assert not (tmp_path / "report").exists()


def test_an_int8_form_that_is_missing_is_told_before_a_model_is_scored(own_store: Path, photos: Path) -> None:
    card = own_store / "tiny-classifier-b" / "card.toml"
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace("[serving]\n", '[serving]\nprecision = "int8"\n'), encoding="utf-8")
    result = call(own_store, "tiny-classifier", "tiny-classifier-b", photos)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "it has no int8 file" in result.stderr


def test_a_model_that_the_data_set_does_not_fit_is_told_before_another_is_scored(
    store: Path, photos: Path, tmp_path: Path
) -> None:
    result = call(store, "tiny-classifier", "tiny-segmenter", photos, "--into", tmp_path / "report")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "has no image with a mask" in result.stderr
    assert not (tmp_path / "report").exists()


def test_what_was_scored_before_a_model_fails_is_told(own_store: Path, photos: Path) -> None:
    folder = own_store / "tiny-classifier-b"
    before, after = (
        folder.joinpath("weights.safetensors").read_bytes(),
        b"no weights, of which the card has the checksum",
    )
    folder.joinpath("weights.safetensors").write_bytes(after)
    text = folder.joinpath("card.toml").read_text(encoding="utf-8")
    exchanged = text.replace(hashlib.sha256(before).hexdigest(), hashlib.sha256(after).hexdigest())
    folder.joinpath("card.toml").write_text(exchanged, encoding="utf-8")
    result = call(own_store, "tiny-classifier", "tiny-classifier-b", photos, "--format", "json")
    assert result.exit_code == 1
    assert [model["model"] for model in json.loads(result.stdout)["models"]] == ["tiny-classifier"]


def test_progress_is_not_mixed_with_the_report(store: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "QUIET_S", 0.0)
    result = call(store, "tiny-classifier", photos, "--format", "json")
    assert json.loads(result.stdout)
    assert "tiny-classifier" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("tiny-classifier", "nothing"), "has no image of the layout folders"),
        (("unknown", "photos"), "no model is named unknown"),
        (("tiny-segmenter", "photos"), "has no image with a mask"),
        (("tiny-classifier", "photos", "--layout", "voc"), "is not a data set of the layout voc"),
    ],
)
@pytest.mark.usefixtures("photos")
def test_what_cannot_be_scored_is_told_in_one_sentence(
    store: Path, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    (tmp_path / "nothing").mkdir()
    model, dataset, *options = arguments
    result = call(store, model, tmp_path / dataset, *options)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert told in result.stderr


def test_what_is_left_out_is_named_in_the_terminal_and_in_every_report(
    store: Path, photos: Path, tmp_path: Path
) -> None:
    (photos / "cat" / "notes.txt").write_text("hello", encoding="utf-8")
    (photos / "cat" / "caf\udce9.jpg").symlink_to("nowhere")
    (photos / "unsorted").mkdir()
    (photos / "unsorted" / "b.jpg").write_bytes(b"\xff\xd8\xff")
    into = tmp_path / "report"
    result = call(store, "tiny-classifier", photos, "--into", into, "--skip-unknown")
    assert result.exit_code == 0, result.output
    for text in (result.stderr, (into / "report.md").read_text(encoding="utf-8")):
        assert "1 file, because it is not an image: cat/notes.txt" in text
        assert "cat/caf\\xe9.jpg" in text
        assert "unsorted/b.jpg" in text
    report = json.loads((into / "report.json").read_text(encoding="utf-8"))
    assert len(report["left_out"]) == 2
    assert [each["file"] for each in report["models"][0]["left_out"]] == [str(photos / "unsorted" / "b.jpg")]


def test_a_rejected_image_whose_name_is_not_utf_8_is_in_every_report(store: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "cat" / "caf\udce9.jpg").write_bytes(b"no image")
    into = tmp_path / "report"
    result = call(store, "tiny-classifier", photos, "--into", into)
    assert result.exit_code == 0, result.output
    assert "caf\\xe9.jpg: " in (into / "report.md").read_text(encoding="utf-8")


def test_a_model_is_called_as_it_was_asked_for(store: Path, photos: Path, tmp_path: Path) -> None:
    into = tmp_path / "report"
    result = call(store, "tiny-classifier@1.0", photos, "--into", into)
    assert "tiny-classifier@1.0" in result.stdout
    assert (into / "answers-tiny-classifier@1.0.jsonl").exists()


def test_plots_of_an_earlier_evaluation_in_the_folder_are_removed_and_other_files_stay(
    store: Path, photos: Path, masks: Path, tmp_path: Path
) -> None:
    into = tmp_path / "report"
    call(store, "tiny-classifier", photos, "--into", into)
    before = {path.name for path in into.glob("*.png")}
    (into / "mine.png").touch()
    call(store, "tiny-segmenter", masks, "--into", into)
    after = {path.name for path in into.glob("*.png")}
    assert before
    assert not before & after
    assert "mine.png" in after


def test_mask_values_can_be_stated(store: Path, masks: Path) -> None:
    Image.fromarray(np.full((64, 64), 255, np.uint8)).save(masks / "masks" / "a.png")
    refused = call(store, "tiny-segmenter", masks)
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (1, 1)
    assert "--values 255=1" in refused.stderr
    assert call(store, "tiny-segmenter", masks, "--values", "255=1").exit_code == 0


@pytest.mark.parametrize("values", ["255", "255=256", "x=1", "255=1;2=3", "-1=2"])
def test_mask_values_that_are_none_are_a_usage_error(store: Path, masks: Path, values: str) -> None:
    result = call(store, "tiny-segmenter", masks, "--values", values)
    assert result.exit_code == 2
    assert "is not VALUE=CLASS" in result.stderr


def test_the_best_five_of_few_labels_are_no_score(store: Path, photos: Path) -> None:
    for folder in photos.iterdir():
        assert folder.name in FLOWERS_AND_PETS[:3]
    (model,) = json.loads(call(store, "tiny-classifier-b", photos, "--format", "json").stdout)["models"]
    assert model["top5"] is None
