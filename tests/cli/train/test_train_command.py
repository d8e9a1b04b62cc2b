"""`resnest-service train` on small folders of made photos: the model, its figures, and every refusal."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from service.cli.main import main
from service.models import cards, model_order, zoo
from service.models.weights import checksums
from tests.cli.train.photos import COLOURS, made, write
from tests.stores import write_store

EACH = {"brick": 15, "grass": 15, "sea": 30}


def call(store: Path, *words: str | Path) -> Result:
    return CliRunner().invoke(main, ["train", "--store", str(store), *map(str, words)])


def entries(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of three labels, with a broken file, a copy, and a file in the folders of two labels."""
    folder = write(tmp_path_factory.mktemp("photos"), EACH)
    (folder / "sea" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (folder / "sea" / "copy.png").write_bytes((folder / "sea" / "001.png").read_bytes())
    twice = made(COLOURS["sand"], 7)
    for label in ("sea", "brick"):
        twice.save(folder / label / "twice.png")
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("store"), "tiny-classifier", "tiny-segmenter")


@pytest.fixture(scope="module")
def trained(store: Path, photos: Path) -> Result:
    done = call(store, photos, "--from", "tiny-classifier", "--name", "mine", "--seed", "3")
    assert done.exit_code == 0, done.output
    return done


def test_the_model_knows_the_labels_and_is_right_about_photos_that_it_never_saw(trained: Result, store: Path) -> None:
    card = cards.read(store / "mine")

    assert [label.label for label in card.classes] == ["brick", "grass", "sea"]
    assert card.measured["top1"] >= 0.9
    assert card.measured["images"] == 12
    assert card.training["held_out"] == {"brick": 3, "grass": 3, "sea": 6}
    assert card.training["photos"] == {"brick": 12, "grass": 12, "sea": 24}
    assert card.training["seed"] == 3
    assert card.training["left_out"] == 4
    assert card.training["near_copies"] == {}
    assert card.training["base"]["name"] == "tiny-classifier"


def test_the_figures_are_those_that_evaluate_finds_with_the_serving_code(trained: Result, store: Path) -> None:
    lines = trained.stdout.splitlines()
    top1 = cards.read(store / "mine").measured["top1"]

    assert lines[0].split() == ["LABEL", "TRAINED", "ON", "HELD", "OUT", "RECALL", "PRECISION"]
    assert lines[1].split()[:3] == ["brick", "12", "3"]
    assert f"Held-out accuracy: {top1:.1%} of 12 photos" in trained.stdout
    assert trained.stdout.splitlines()[-1] == (
        f"Serve it: resnest-service run --models mine --store {store}. "
        f"If a service runs already: resnest-service models reload --store {store}"
    )


def test_the_figure_of_the_cross_validation_is_named_as_what_it_is(trained: Result, store: Path) -> None:
    found = cards.read(store / "mine").training["cross_validation"]

    assert set(found) == {"mean_recall", "log_loss"}
    assert f"Cross-validation: mean recall of the labels {found['mean_recall']:.1%}, log loss" in trained.stderr


def test_the_card_has_a_sign_of_unknown_images(trained: Result, store: Path) -> None:
    card = cards.read(store / "mine")

    assert card.calibration
    assert card.calibration.temperature == 1
    assert card.calibration.min_logit is not None
    assert card.measured["calibration"]["images"] == 12
    assert "of 12 held-out photos are called unknown" in trained.stdout
    assert "How many images of something else are found was not measured" in trained.stdout


def test_whatever_is_left_out_is_named_with_the_reason(trained: Result) -> None:
    for words in (
        "1 file, because it is not a usable image: ",
        "sea/broken.jpg",
        "because it is a copy of 001.png: sea/copy.png",
        "because the same file is in the folders of several labels: brick, sea: brick/twice.png, sea/twice.png",
    ):
        assert words in trained.stderr


def test_a_seed_gives_the_same_weights_and_another_one_other_photos(trained: Result, store: Path, photos: Path) -> None:
    for name, seed in (("again", "3"), ("other", "4")):
        done = call(store, photos, "--from", "tiny-classifier", "--name", name, "--seed", seed)
        assert done.exit_code == 0, done.output
    mine, again, other = (cards.read(store / name) for name in ("mine", "again", "other"))

    assert mine.checksum == again.checksum
    assert mine.measured == again.measured
    assert other.checksum != mine.checksum


def test_a_new_model_is_not_the_default_of_its_store(trained: Result, store: Path) -> None:
    by_addition = model_order.ordered(zoo.read_all(store).values(), store)

    assert by_addition[0].name == "tiny-classifier"


def test_near_copies_are_on_the_card(store: Path, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    shutil.copytree(photos, folder)
    with Image.open(folder / "sea" / "002.png") as opened:
        opened.save(folder / "sea" / "like-002.jpg", quality=80)
    words = (folder, "--from", "tiny-classifier", "--name")

    assert call(store, *words, "copies").exit_code == 0
    assert call(store, *words, "kept", "--keep-near-copies").exit_code == 0

    names = ["sea/002.png", "sea/like-002.jpg"]
    assert cards.read(store / "copies").training["near_copies"] == {"sea": {"merged": 1, "example": names}}
    assert cards.read(store / "kept").training["keeps_near_copies"] is True


def test_a_model_is_replaced_only_on_request(trained: Result, store: Path, photos: Path) -> None:
    refused = call(store, photos, "--from", "tiny-classifier", "--name", "mine")
    assert refused.exit_code == 1
    assert "version 1.0; choose another --name, or replace it with --replace" in refused.stderr
    before = cards.read(store / "mine")

    words = (photos, "--from", "mine", "--name", "mine", "--replace", "--hold-out", "3")
    done = call(store, *words)

    assert done.exit_code == 0, done.output
    after = cards.read(store / "mine")
    assert (before.version, after.version) == ("1.0", "2.0")
    assert after.training["base"] == {"name": "mine", "version": "1.0", "identity": after.training["base"]["identity"]}


def test_the_last_stage_is_trained_too_by_the_papers_recipe(store: Path, photos: Path) -> None:
    recipe = ("--finetune", "--epochs", "2", "--batch-size", "16", "--warm-up", "1", "--mixup", "0.1")
    done = call(store, photos, "--from", "tiny-classifier", "--name", "tuned", *recipe)

    assert done.exit_code == 0, done.output
    card = cards.read(store / "tuned")
    assert "validation mean recall " in done.stderr.partition("Epoch 2: loss ")[2]
    assert card.measured["top1"] >= 0.9
    assert card.training["finetune"]["epochs"] == 2
    assert card.training["finetune"]["label_smoothing"] == 0.1


def test_suggestions_are_images_with_a_reason_and_no_copies(trained: Result, store: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "unlabelled", {"brick": 5, "grass": 5, "sand": 5})
    (folder / "notes.txt").write_text("no image", encoding="utf-8")

    done = call(store, "--from", "mine", "--suggest", folder, "--count", "4")

    assert done.exit_code == 0, done.output
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert len({path for path, _ in lines}) == 4
    assert all(Path(path).is_file() for path, _ in lines)
    assert all(reason.startswith("unsure: ") and "margin " in reason for _, reason in lines)
    assert "notes.txt" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--from", "tiny-segmenter", "--name", "x"), "cannot be trained"),
        (("--from", "nothing", "--name", "x"), "no model is named nothing"),
        (("--from", "tiny-classifier", "--name", "tiny-segmenter"), "did not make it"),
        (("--from", "tiny-classifier", "--name", "X"), "is not a model name"),
        (("--from", "tiny-classifier", "--name", "x", "--split", "train"), "there is no folder train"),
        (("--from", "tiny-classifier"), "--name"),
        (("--from", "tiny-classifier", "--name", "x", "--epochs", "3"), "--epochs is for --finetune"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    words: tuple[str, ...], message: str, store: Path, photos: Path
) -> None:
    before = entries(store)

    done = call(store, photos, *words)

    assert done.exit_code in (1, 2)
    assert message in done.stderr
    assert entries(store) == before


def test_other_images_that_cannot_be_read_are_refused_before_any_photo_is_computed(
    store: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")

    done = call(store, photos, "--from", "tiny-classifier", "--name", "x", "--others", tmp_path)

    assert done.exit_code == 1
    assert "can be read: 1 file, because it is not an image: notes.txt" in done.stderr
    assert "Left out" not in done.stderr, "the photos were computed"


def test_without_photos_there_must_be_something_to_suggest_from(store: Path) -> None:
    assert "--suggest" in call(store, "--from", "tiny-classifier").stderr
    assert "needs PHOTOS" in call(store, "--from", "tiny-classifier", "--name", "x", "--suggest", store).stderr


def test_photos_that_only_copies_make_enough_are_too_few(store: Path, tmp_path: Path) -> None:
    folder = write(tmp_path, {"brick": 12, "sea": 12})
    for number in range(4):
        (folder / "sea" / f"{number:03}.png").write_bytes((folder / "sea" / "011.png").read_bytes())

    done = call(store, folder, "--from", "tiny-classifier", "--name", "few")

    assert done.exit_code == 1
    assert "sea has 8 and needs 2 more" in done.stderr


def process(store: Path, photos: Path, limit: int | None = None) -> "subprocess.Popen[str]":
    def restrict() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs, such as these tests, ignore it
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-m", "service", "train", "--store", str(store), str(photos)]
    command += ["--from", "tiny-classifier", "--name", "new"]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=restrict,  # noqa: PLW1509 - this process has no other thread now
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def test_a_disk_that_becomes_full_leaves_the_store_as_it_was(store: Path, photos: Path) -> None:
    before = entries(store)

    with process(store, photos, limit=1 << 20) as running:  # the weights need 20 times as much
        _, said = running.communicate(timeout=120)

    assert running.returncode == 1
    assert "File too large" in said
    assert "Traceback" not in said
    assert entries(store) == before


def test_ctrl_c_leaves_the_store_as_it_was(store: Path, photos: Path) -> None:
    before = entries(store)

    with process(store, photos) as running:
        assert running.stderr is not None
        said = ""
        for line in running.stderr:  # the penalty is searched next, and then the model is written
            said += line
            if line.startswith("Fitting"):
                running.send_signal(signal.SIGINT)
                break
        rest = running.stderr.read()

    assert running.returncode == 1, said + rest
    assert "Traceback" not in rest
    assert entries(store) == before


def test_images_of_other_things_make_it_a_domain_score(store: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    for number in range(40):
        made((128, 128, 128), 900 + number).convert("L").save(tmp_path / "others" / f"{number}.png")
    words = ("--from", "tiny-classifier", "--name", "with-others", "--others", tmp_path / "others")
    done = call(store, photos, *words)
    assert done.exit_code == 0, done.output

    card = cards.read(store / "with-others")
    checksums.verify(card)
    rates = card.measured["calibration"]
    assert card.calibration
    assert card.calibration.domain
    assert (rates["others_fitted_on"], rates["others"]) == (20, 20)
    assert rates["found"] >= 0.8
    assert "of 20 other images" in done.stdout
    assert call(store, photos, *words, "--replace", "--finetune").exit_code == 2
