"""Tests of `resnest-service quantise`, from a folder of images to a card that uses int8.

What calls NNCF runs in a separate process: NNCF creates and deletes OpenVINO `Core` objects, and a process of this
project has only one.
"""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from service import engines
from service.cli.main import main
from service.engines import torch_cpu
from service.engines.openvino import quantise as quantising
from service.host.served_models import model_archive
from service.models import cards
from service.models.cards import CardError, ModelCard
from tests.stores import serving, write_store

Pixels = npt.NDArray[np.uint8]


class Quantised(NamedTuple):
    """A model before and after, the images that did not calibrate it, and the output of the command."""

    before: ModelCard
    after: ModelCard
    validation: Pixels
    output: str


def call(store: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "service", "quantise", "--store", str(store), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)


def call_here(store: Path, *words: str, typed: str = "") -> Result:
    """Call the command in this process. NNCF must not be reached."""
    return CliRunner().invoke(main, ["quantise", "--store", str(store), *words], input=typed)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 24 images of random colours, and a file that is not an image."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "deeper").mkdir()
    for index, image in enumerate(squares()):
        Image.fromarray(image).save(folder / "deeper" / f"{index:02}.png")
    (folder / "broken.jpg").write_bytes(b"not an image")
    return folder


def squares() -> Pixels:
    colours = np.random.default_rng(5).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    return np.kron(colours, np.ones((1, 8, 8, 1), np.uint8))


@pytest.fixture(scope="module", params=["tiny-classifier", "tiny-segmenter"])
def quantised(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Quantised:
    store = write_store(tmp_path_factory.mktemp("quantised"), request.param)
    before = cards.read(store / request.param)
    done = call(store, request.param, "--image-folder", str(photos), "--yes")
    assert done.returncode == 0, done.stderr
    return Quantised(before, cards.read(store / request.param), squares()[1::2], done.stdout + done.stderr)


def test_the_loss_is_told_and_what_could_not_be_read(quantised: Quantised) -> None:
    for words in (
        "AGAINST SINGLE PRECISION",
        "12 images",
        "SAME ",
        "because it is unsupported_media_type: broken.jpg",
        "would be safer",
    ):
        assert words in quantised.output


def test_the_card_asks_for_int8_and_keeps_all_else(quantised: Quantised) -> None:
    before, after = quantised.before, quantised.after
    assert (before.serving.precision, after.serving.precision) == ("auto", "int8")
    assert after.int8 is not None
    assert after.int8.made_of == before.checksum
    assert set(after.measured["int8"]) == {"images", "same", "score_difference", "left_out"}
    assert after.measured["int8"]["left_out"] == ["1 file, because it is unsupported_media_type: broken.jpg"]
    changed = {"int8", "serving", "measured"}
    assert after.model_dump(exclude=changed) == before.model_dump(exclude=changed)
    assert serving(after, precision="auto").serving == before.serving


def test_it_answers_nearly_as_before_and_from_a_quarter_of_the_bytes(quantised: Quantised) -> None:
    exact = torch_cpu.load(quantised.before, "cpu")(quantised.validation)
    int8 = engines.load(quantised.after, "cpu")(quantised.validation)
    scores = "scores" if quantised.after.task == "classification" else "class_scores"
    assert int8.keys() == exact.keys()
    assert (int8[scores] != exact[scores]).any()
    assert np.abs(int8[scores] - exact[scores]).mean() < 0.05
    assert quantised.after.int8 is not None
    file = quantised.after.folder / quantised.after.int8.file
    assert file.stat().st_size < 0.6 * quantised.after.weights_path.stat().st_size  # the weights are in half precision


def test_the_archive_holds_the_int8_file_only_where_the_card_asks_for_it(quantised: Quantised, tmp_path: Path) -> None:
    assert quantised.after.int8 is not None
    archive = model_archive.package(quantised.after, tmp_path)
    assert (archive / quantised.after.int8.file).is_file()
    archive = model_archive.package(serving(quantised.after, precision="auto"), tmp_path)
    assert not (archive / quantised.after.int8.file).exists()


def test_a_no_leaves_everything_as_it_was(
    quantised: Quantised, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, form = quantised.after.name, quantised.after.int8
    assert form is not None
    made = (quantised.after.folder / form.file).read_bytes()  # of the same weights, and NNCF takes 9 s of a core
    monkeypatch.setattr(quantising, "quantise", lambda _card, _images: made)
    folder = write_store(tmp_path, name) / name
    before = {path: path.read_bytes() for path in folder.iterdir()}
    done = call_here(tmp_path, name, "--image-folder", str(photos), "--count", "4", typed="n\n")
    assert done.exit_code == 1
    assert "in int8 from the next start on?" in done.stdout
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_too_few_pictures_are_one_sentence(tmp_path: Path) -> None:
    write_store(tmp_path / "store", "tiny-classifier")
    (tmp_path / "empty").mkdir()
    done = call_here(tmp_path / "store", "tiny-classifier", "--image-folder", str(tmp_path / "empty"))
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)
    assert "fewer than two readable images" in done.stderr


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("missing", "cannot be read: No such file"),
        ("changed", "does not have the checksum on its card"),
        ("other weights", "was made from other weights"),
        ("none", "it has no int8 file"),
    ],
)
def test_an_int8_form_that_is_not_the_cards_is_refused(quantised: Quantised, damage: str, message: str) -> None:
    card, form = quantised.after, quantised.after.int8
    assert form is not None
    changes = {
        "missing": {"file": "gone.zip"},
        "changed": {"sha256": "0" * 64},
        "other weights": {"made_of": "0" * 64},
    }
    other = None if damage == "none" else form.model_copy(update=changes[damage])
    with pytest.raises(CardError, match=message):
        engines.load(card.model_copy(update={"int8": other}), "cpu")


def test_pytorch_refuses_int8(quantised: Quantised) -> None:
    with pytest.raises(CardError, match="int8 runs with OpenVINO on a CPU only"):
        engines.load(serving(quantised.after, engine="torch"), "cpu")
