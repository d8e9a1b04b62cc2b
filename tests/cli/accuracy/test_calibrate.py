"""The command `calibrate`, from folders of images to a card that the service uses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from service.cli.main import main
from service.models import cards
from service.models.cards import CardError
from service.models.weights import checksums
from tests.stores import FLOWERS_AND_PETS, write_store

IMAGES = 48


def call(store: Path, *arguments: object, typed: str = "") -> Result:
    return CliRunner().invoke(main, ["calibrate", "--store", str(store), *map(str, arguments)], input=typed)


def squares(folder: Path, count: int, seed: int) -> None:
    colours = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    folder.mkdir(parents=True)
    for place, picture in enumerate(np.kron(colours, np.ones((1, 8, 8, 1), np.uint8))):
        Image.fromarray(picture).save(folder / f"{place:02}.png")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images of random colours for each of two labels."""
    root = tmp_path_factory.mktemp("photos")
    for seed, label in enumerate(FLOWERS_AND_PETS[:2]):
        squares(root / label, IMAGES // 2, seed)
    return root


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of other images, and a file that is none."""
    folder = tmp_path_factory.mktemp("others")
    squares(folder / "squares", 10, 9)
    (folder / "broken.png").write_bytes(b"not an image")
    return folder


@pytest.fixture
def own_store(tmp_path: Path) -> Path:
    """Return a store that a test may change."""
    return write_store(tmp_path / "store", "tiny-classifier", "tiny-segmenter")


def test_the_card_gets_the_calibration_and_its_rates(own_store: Path, photos: Path, others: Path) -> None:
    told = call(own_store, "tiny-classifier", photos, "--others", others, "--yes")

    card = cards.read(own_store / "tiny-classifier")
    assert told.exit_code == 0, told.output
    assert card.calibration
    assert card.calibration.made_of == card.checksum
    rates = card.measured["calibration"]
    assert (rates["fitted_on"], rates["images"], rates["others"]) == (IMAGES // 2, IMAGES // 2, 10)
    assert all(0 <= rates[name] <= 1 for name in ("ece_before", "ece_after", "false_alarms", "found", "auroc"))
    assert "6 images of other things are too few for a domain score; they only measure" in told.stderr
    assert "Skipping" in told.stderr
    assert f"{card.calibration.temperature:.3f}" in told.stdout


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Return two folders of images of random colours for each of two labels, and one of grey images."""
    root = tmp_path_factory.mktemp("many")
    for seed, part in enumerate(("fit", "known")):
        for label in FLOWERS_AND_PETS[:2]:
            squares(root / part / label, IMAGES, 10 * seed + len(label))
    (root / "grey").mkdir()
    for number in range(60):
        level = np.random.default_rng(number).normal(128, 4, (64, 64, 1)).clip(0, 255).astype(np.uint8)
        Image.fromarray(level.repeat(3, axis=2)).save(root / "grey" / f"{number:02}.png")
    return root / "fit", root / "known", root / "grey"


def test_images_of_other_things_fit_a_domain_score_that_finds_such_images(
    own_store: Path, many: tuple[Path, Path, Path]
) -> None:
    photos, known, grey = many
    told = call(own_store, "tiny-classifier", photos, "--others", grey, "--known", known, "--yes")

    assert told.exit_code == 0, told.output
    card = cards.read(own_store / "tiny-classifier")
    assert card.calibration
    assert card.calibration.domain
    assert card.calibration.min_logit is None
    checksums.verify(card)
    rates = card.measured["calibration"]
    assert (rates["domain_fitted_on"], rates["others_fitted_on"], rates["others"]) == (2 * IMAGES, 30, 30)
    assert rates["found"] > 0.9
    assert rates["false_alarms"] < 0.3
    assert rates["auroc"] > max(0.95, rates["auroc_of_max_logit"])
    asked = ["classify", str(grey), "--local", "--json", "--store", str(own_store)]
    lines = [json.loads(line) for line in CliRunner().invoke(main, asked).stdout.splitlines()]
    assert sum(line["unknown"] for line in lines) > 0.9 * len(lines)


def test_only_the_file_of_the_domain_score_in_force_is_kept(own_store: Path, many: tuple[Path, Path, Path]) -> None:
    photos, known, grey = many
    folder = own_store / "tiny-classifier"

    def files() -> set[str]:
        return {path.name for path in folder.glob("domain-*")}

    call(own_store, "tiny-classifier", photos, "--others", grey, "--known", known, "--yes")
    first = files()
    call(own_store, "tiny-classifier", photos, "--others", grey, typed="n\n")
    assert files() == first
    call(own_store, "tiny-classifier", photos, "--others", grey, "--yes")
    assert len(files()) == 1
    assert files() != first
    call(own_store, "tiny-classifier", photos, "--yes")
    assert files() == set()
    assert cards.read(folder).calibration


@pytest.mark.parametrize("option", ["--known", "--check-others"])
def test_folders_for_the_domain_score_need_others(option: str, own_store: Path, photos: Path) -> None:
    told = call(own_store, "tiny-classifier", photos, option, photos)

    assert told.exit_code == 2
    assert "need --others" in told.stderr


def test_every_file_that_is_left_out_is_named(own_store: Path, photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "more")
    (folder / "stray.png").write_bytes((folder / FLOWERS_AND_PETS[0] / "00.png").read_bytes())
    (folder / FLOWERS_AND_PETS[0] / "notes.txt").write_text("none", encoding="utf-8")

    told = call(own_store, "tiny-classifier", folder, "--yes")

    assert "because it is in no folder of a label: stray.png" in told.stderr
    assert "notes.txt" in told.stderr


def test_the_service_uses_what_was_written(own_store: Path, photos: Path) -> None:
    call(own_store, "tiny-classifier", photos, "--false-alarms", 0.5, "--yes")
    asked = ["classify", str(photos), "--local", "--json", "--store", str(own_store), "--unknown", "hide"]

    lines = [json.loads(line) for line in CliRunner().invoke(main, asked).stdout.splitlines()]

    unknown = [line for line in lines if line["unknown"]]
    assert 0.25 * IMAGES <= len(unknown) <= 0.75 * IMAGES
    assert all((line["predictions"] == []) is line["unknown"] for line in lines)
    assert all(line["warnings"] == ["out_of_domain"] for line in unknown)


def test_another_folder_can_measure_it(own_store: Path, photos: Path) -> None:
    call(own_store, "tiny-classifier", photos, "--check", photos, "--yes")

    rates = cards.read(own_store / "tiny-classifier").measured["calibration"]
    assert (rates["fitted_on"], rates["images"]) == (IMAGES, IMAGES)


def test_a_second_calibration_replaces_the_first(own_store: Path, photos: Path) -> None:
    found = []
    for share in (0.3, 0.1, 0.3):
        call(own_store, "tiny-classifier", photos, "--false-alarms", share, "--yes")
        found.append(cards.read(own_store / "tiny-classifier").calibration)

    assert found[0] == found[2] != found[1]


def test_a_no_changes_nothing(own_store: Path, photos: Path) -> None:
    told = call(own_store, "tiny-classifier", photos, typed="n\n")

    assert told.exit_code == 1
    assert cards.read(own_store / "tiny-classifier").calibration is None


def test_a_model_of_another_task_is_refused(own_store: Path, photos: Path) -> None:
    told = call(own_store, "tiny-segmenter", photos)

    assert told.exit_code == 1
    assert "only classifiers have one" in told.stderr


def test_too_few_images_are_refused_with_their_number(own_store: Path, photos: Path, tmp_path: Path) -> None:
    squares(tmp_path / "few" / "cat", 5, 1)

    told = call(own_store, "tiny-classifier", tmp_path / "few")

    assert told.exit_code == 1
    assert "has 5 labelled images for tiny-classifier; at least 40 are needed" in told.stderr


def test_a_calibration_of_other_weights_is_refused_when_the_model_is_loaded(own_store: Path, photos: Path) -> None:
    call(own_store, "tiny-classifier", photos, "--yes")
    card = cards.read(own_store / "tiny-classifier")
    assert card.calibration
    checksums.verify(card)
    stale = card.model_copy(update={"calibration": card.calibration.model_copy(update={"made_of": "0" * 64})})

    with pytest.raises(CardError, match="repeat `resnest-service calibrate tiny-classifier`"):
        checksums.verify(stale)
