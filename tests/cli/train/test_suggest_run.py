"""Suggestions of a model for a folder: their probabilities are those that it serves."""

from pathlib import Path

import pytest

from service.cli.train import features, suggest_run
from service.measure.pipeline import Pipeline
from service.models import cards
from service.models.calibration import Calibration
from service.models.cards import CardError, ModelCard
from tests.cli.train.photos import write
from tests.stores import write_store


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return cards.read(write_store(tmp_path_factory.mktemp("store"), "tiny-classifier") / "tiny-classifier")


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_the_first_suggestion_is_the_image_of_which_the_served_model_is_least_sure(
    card: ModelCard, tmp_path: Path, capsys: pytest.CaptureFixture[str], temperature: float
) -> None:
    calibration = Calibration(temperature=temperature, min_logit=-100.0, made_of=str(card.checksum))
    card = card.model_copy(update={"calibration": calibration})
    folder = write(tmp_path, {"sea": 8, "sand": 8})
    served = Pipeline.load(card.model_copy(update={"serving": card.serving.model_copy(update={"precision": "fp32"})}))
    margins = {}
    for path in folder.rglob("*.png"):
        scores = sorted(served(path.read_bytes())[0].arrays["scores"].tolist())
        margins[str(path)] = scores[-1] - scores[-2]

    suggest_run.suggest(folder, card, features.operation_of(card), 3, None)

    lines = capsys.readouterr().out.splitlines()
    first, reason = lines[0].split("\t")
    assert len(lines) == 3
    assert margins[first] == pytest.approx(min(margins.values()), abs=5e-3)
    assert f"margin {margins[first]:.2f}" in reason
    assert "from the closest one" not in reason
    assert all("from the closest one that is chosen or labelled" in line for line in lines[1:])


def test_photos_like_labelled_ones_are_not_suggested_first(
    card: ModelCard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path, {"sea": 3})
    operation = features.operation_of(card)
    paths = sorted(folder.rglob("*.png"))
    found = features.extract(Pipeline.load(card, operation=operation), paths[:2], lambda *_: None)

    suggest_run.suggest(folder, card, operation, 3, found.features)

    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == [str(paths[2])]


def test_a_folder_without_images_and_a_model_of_one_label_are_refused(card: ModelCard, tmp_path: Path) -> None:
    operation = features.operation_of(card)
    with pytest.raises(CardError, match="has no image"):
        suggest_run.suggest(tmp_path, card, operation, 3, None)

    one = card.model_copy(update={"network": card.network.model_copy(update={"classes": 1})})
    with pytest.raises(CardError, match="has one label"):
        suggest_run.suggest(tmp_path, one, operation, 3, None)
