"""The model directories that TorchServe loads, made from cards and weights."""

import json
import tempfile
from pathlib import Path

import pytest
import yaml

from service.host.served_models import model_archive
from service.models import cards, zoo
from service.models.cards import CardError, ModelCard
from service.models.weights import checksums
from service.worker.election import Terms
from tests.host.written_cards import written_card
from tests.stores import add_domain


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    return written_card(tmp_path / "store")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def times(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*")}


def test_an_archive_holds_what_a_worker_needs(card: ModelCard, tmp_path: Path) -> None:
    archive = model_archive.package(card, tmp_path / "archives")
    assert archive == tmp_path / "archives" / "tiny-classifier"
    assert set(contents(archive)) == {
        "MAR-INF/MANIFEST.json",
        "card.toml",
        "labels.txt",
        "model-config.yaml",
        "weights.safetensors",
    }
    packaged = cards.read(archive)
    assert packaged.model_dump(exclude={"folder"}) == card.model_dump(exclude={"folder"})
    assert packaged.classes == card.classes


def test_an_archive_holds_the_file_of_the_domain_score_too(card: ModelCard, tmp_path: Path) -> None:
    add_domain(card.folder)
    archive = model_archive.package(cards.read(card.folder), tmp_path / "archives")

    assert checksums.read_domain(cards.read(archive)) == (card.folder / "domain-1.safetensors").read_bytes()
    (card.folder / "domain-1.safetensors").write_bytes(b"another")
    with pytest.raises(CardError, match="does not have the checksum on its card"):
        model_archive.package(cards.read(card.folder), tmp_path / "archives")


def test_the_manifest_names_the_handler_of_the_task(card: ModelCard, tmp_path: Path) -> None:
    archive = model_archive.package(card, tmp_path / "archives")
    manifest = json.loads((archive / "MAR-INF" / "MANIFEST.json").read_bytes())
    assert manifest["model"]["handler"] == model_archive.HANDLER
    assert (manifest["model"]["modelName"], manifest["model"]["modelVersion"]) == (card.name, card.version)
    assert (archive / manifest["model"]["configFile"]).is_file()
    assert Terms.read(archive) == Terms(engines=1, followers=1, hang_s=30)


def test_a_setting_gives_more_connections(card: ModelCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNEST_WORKER_CONNECTIONS", "12")
    archive = model_archive.package(card, tmp_path / "archives")
    settings = yaml.safe_load((archive / "model-config.yaml").read_bytes())

    assert (Terms.read(archive).followers, settings["minWorkers"], settings["maxWorkers"]) == (11, 12, 12)


def test_torchserve_never_gives_a_worker_process_up(card: ModelCard, tmp_path: Path) -> None:
    """It would then serve the model no more, and a liveness probe or supervisor had to restart all others with it."""
    archive = model_archive.package(card, tmp_path / "archives")
    settings = yaml.safe_load((archive / "model-config.yaml").read_bytes())

    milliseconds = 1000 * settings["maxRetryTimeoutInSec"]
    assert 20 * 86_400_000 < milliseconds < 1 << 31, "Java multiplies 32 bits"


@pytest.mark.parametrize(("delay", "batch_size", "wait"), [(7, 3, 7), (0, 1, 1)])
def test_the_serving_table_becomes_torchserves_own(tmp_path: Path, delay: int, batch_size: int, wait: int) -> None:
    """Without a delay TorchServe takes each of the gateway's batches at once; its smallest delay is 1 ms."""
    serving = {"batch_size": 3, "max_batch_delay_ms": delay, "workers": 2, "deadline_s": 12.5}
    card = written_card(tmp_path / "store", changes={"serving": serving})
    settings = yaml.safe_load((model_archive.package(card, tmp_path / "archives") / "model-config.yaml").read_bytes())
    assert (settings["batchSize"], settings["maxBatchDelay"]) == (batch_size, wait)
    assert (settings["minWorkers"], settings["maxWorkers"]) == (4, 4), "a follower for each leader"
    assert settings["jobQueueSize"] == model_archive.JOB_QUEUE_SIZE
    assert all(type(value) is int for value in settings.values()), "TorchServe only warns of other types"


@pytest.mark.parametrize("deadline", [0.5, 10, 100])
def test_a_worker_is_given_up_only_after_every_deadline_has_passed(tmp_path: Path, deadline: float) -> None:
    card = written_card(tmp_path / "store", changes={"serving": {"deadline_s": deadline}})
    settings = yaml.safe_load((model_archive.package(card, tmp_path / "archives") / "model-config.yaml").read_bytes())
    assert settings["responseTimeout"] > deadline


def test_the_same_model_gives_the_same_archive(card: ModelCard, tmp_path: Path) -> None:
    first, second = (model_archive.package(card, tmp_path / name) for name in "ab")
    assert contents(first) == contents(second)


def test_an_archive_that_is_up_to_date_is_left_alone(card: ModelCard, tmp_path: Path) -> None:
    archive = model_archive.package(card, tmp_path / "archives")
    before = times(archive)
    model_archive.package(card, tmp_path / "archives")
    assert times(archive) == before


def test_weights_are_a_second_name_of_the_file_where_that_can_be(card: ModelCard, tmp_path: Path) -> None:
    archive = model_archive.package(card, tmp_path / "archives")
    assert (archive / "weights.safetensors").samefile(card.weights_path)


@pytest.mark.skipif(
    not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == Path(__file__).stat().st_dev,  # noqa: S108
    reason="needs a second file system",
)
def test_weights_are_copied_to_another_file_system(card: ModelCard) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        archive = model_archive.package(card, Path(other))
        assert (archive / "weights.safetensors").read_bytes() == card.weights_path.read_bytes()
        before = times(archive)
        model_archive.package(card, Path(other))
        assert times(archive) == before


@pytest.mark.parametrize("damage", ["missing", "changed", "further", "weights"])
def test_an_archive_that_differs_is_made_anew(card: ModelCard, tmp_path: Path, damage: str) -> None:
    archive = model_archive.package(card, tmp_path / "archives")
    sound = contents(archive)
    match damage:
        case "missing":
            (archive / "labels.txt").unlink()
        case "changed":
            (archive / "card.toml").write_text("name = 'other'", encoding="utf-8")
        case "further":
            (archive / "stray.py").write_text("", encoding="utf-8")
        case _:
            (archive / "weights.safetensors").unlink()
            (archive / "weights.safetensors").write_bytes(b"others")
    model_archive.package(card, tmp_path / "archives")
    assert contents(archive) == sound


def test_nothing_but_archives_is_left_in_their_folder(card: ModelCard, tmp_path: Path) -> None:
    """TorchServe may try to load any folder that it finds there."""
    archive = model_archive.package(card, tmp_path / "archives")
    (archive / "labels.txt").unlink()
    model_archive.package(card, tmp_path / "archives")
    assert [path.name for path in (tmp_path / "archives").iterdir() if path.is_dir()] == ["tiny-classifier"]
    assert not list(archive.glob(".*"))


def test_missing_weights_are_one_sentence_with_their_path(card: ModelCard, tmp_path: Path) -> None:
    card.weights_path.unlink()
    with pytest.raises(CardError, match=str(card.weights_path)):
        model_archive.package(card, tmp_path / "archives")
    assert not (tmp_path / "archives").exists()


def test_other_weights_than_the_cards_are_refused(card: ModelCard, tmp_path: Path) -> None:
    card.weights_path.write_bytes(b"tampered")
    with pytest.raises(CardError, match="SHA-256"):
        model_archive.package(card, tmp_path / "archives")
    assert not (tmp_path / "archives").exists()


def test_an_archive_that_cannot_be_written_is_one_sentence(card: ModelCard, tmp_path: Path) -> None:
    (tmp_path / "archives").touch()
    with pytest.raises(CardError, match=r"archives/tiny-classifier cannot be written: File exists$"):
        model_archive.package(card, tmp_path / "archives")


def test_labels_that_do_not_fit_are_told_before_a_worker_finds_out(card: ModelCard, tmp_path: Path) -> None:
    (card.folder / "labels.txt").write_text("cat\n", encoding="utf-8")
    with pytest.raises(CardError, match="1 labels for 7 classes"):
        model_archive.package(zoo.read_zoo(card.folder.parent)[card.name], tmp_path / "archives")


def test_pulled_weights_bring_their_recorded_checksum(card: ModelCard, tmp_path: Path) -> None:
    source = {"urls": ["https://example.org/w.pth"], "sha256": "0" * 64}
    stated = type(card.weights).model_validate({"file": card.weights.file, "sources": [source]})
    card.checksum_path.write_text(f"{card.weights.sha256}  {card.weights.file}\n", encoding="utf-8")
    pulled = card.model_copy(update={"weights": stated})
    archive = model_archive.package(pulled, tmp_path / "archives")
    assert (archive / card.checksum_path.name).read_bytes() == card.checksum_path.read_bytes()


def test_a_shared_label_set_is_copied_beside_the_card(tmp_path: Path) -> None:
    card = written_card(tmp_path / "store", changes={"labels": {}})
    rows = "class_id\tlabel\n" + "".join(f"{number}\tkind {number}\n" for number in range(7))
    (tmp_path / "store" / "labels").mkdir()
    (tmp_path / "store" / "labels" / "kinds.tsv").write_text(rows, encoding="utf-8")
    with (card.folder / "card.toml").open("a", encoding="utf-8") as text:
        text.write('\n[labels]\nset = "kinds"\n')
    archive = model_archive.package(cards.read(card.folder), tmp_path / "archives")
    assert [label.label for label in cards.read(archive).classes] == [f"kind {number}" for number in range(7)]


def test_an_archive_holds_the_card_that_it_was_made_of(card: ModelCard, tmp_path: Path) -> None:
    named = card.model_copy(update={"registered_as": "tiny-classifier@1.0.2"})
    archive = model_archive.package(named, tmp_path)

    assert archive.name == "tiny-classifier@1.0.2"
    assert model_archive.holds(tmp_path, archive.name, card)
    labels = card.labels_path.read_text(encoding="utf-8")
    card.labels_path.write_text(labels.replace("cat", "lynx"), encoding="utf-8")
    assert not model_archive.holds(tmp_path, archive.name, card)
    assert not model_archive.holds(tmp_path, "another", card)
