"""The choice of the engine for a card."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from service import engines
from service.engines import torch_cpu
from service.engines.openvino import engine as openvino_engine
from service.engines.openvino.conversion import ConversionError
from service.engines.openvino.engine import OpenVinoEngine
from service.engines.torch_cpu import TorchEngine
from service.models import cards
from service.models.cards import CardError, ModelCard
from service.tasks.frame import RUNTIMES
from tests.stores import serving


@pytest.fixture
def card(store: Path) -> ModelCard:
    return cards.read(store / "tiny-classifier")


@pytest.mark.parametrize(
    ("engine", "kind"), [("auto", OpenVinoEngine), ("openvino", OpenVinoEngine), ("torch", TorchEngine)]
)
def test_a_card_gets_what_it_asks_for_on_the_cpu_and_the_engine_says_what_it_is(
    card: ModelCard, engine: str, kind: type
) -> None:
    loaded = engines.load(serving(card, engine=engine), "cpu")

    assert isinstance(loaded, kind)
    assert engines.runtime_of(loaded) == ("torch" if kind is TorchEngine else "openvino", "cpu")


def test_gateways_show_every_engine_that_a_card_can_name() -> None:
    assert {each.engine for each in RUNTIMES} == engines.ENGINES.keys()


def test_the_engine_that_is_tried_first_has_a_name(card: ModelCard) -> None:
    assert engines.chosen(card, "cpu") == "openvino"
    assert engines.chosen(card, "cuda:0") == "torch"
    assert engines.chosen(serving(card, engine="torch"), "cpu") == "torch"


def test_the_device_is_the_best_one_where_none_is_named(card: ModelCard) -> None:
    expected = TorchEngine if torch.cuda.is_available() else OpenVinoEngine
    assert isinstance(engines.load(card), expected)


def test_torch_runs_what_openvino_cannot_take_and_says_so(card: ModelCard, caplog: pytest.LogCaptureFixture) -> None:
    def failing(_card: ModelCard, _device: str) -> engines.Engine:
        raise ConversionError("an operation is unknown")

    assert isinstance(engines.on_cpu(card, failing), TorchEngine)
    (record,) = caplog.records
    assert record.getMessage() == "an operation is unknown; PyTorch runs it instead, several times slower"


def test_weights_that_are_wrong_are_nothing_that_torch_could_mend(card: ModelCard) -> None:
    def failing(_card: ModelCard, _device: str) -> engines.Engine:
        raise CardError("the weights are others")

    with pytest.raises(CardError, match="the weights are others"):
        engines.on_cpu(card, failing)


def test_without_openvino_torch_runs_unless_the_card_insists(store: Path) -> None:
    program = (
        "import sys; sys.modules['openvino'] = None\n"
        "from pathlib import Path; from service import engines; from service.models import cards\n"
        "card = cards.read(Path(sys.argv[1]))\n"
        "print(type(engines.load(card, 'cpu')).__name__)\n"
        "insisting = card.serving.model_copy(update={'engine': 'openvino'})\n"
        "try: engines.load(card.model_copy(update={'serving': insisting}), 'cpu')\n"
        "except cards.CardError as error: print(error)\n"
    )
    command = [sys.executable, "-c", program, str(store / "tiny-classifier")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    assert done.stdout.splitlines() == [
        "TorchEngine",
        "tiny-classifier: OpenVINO is not installed; install resnest-service[worker]",
    ]
    assert done.stderr.count("OpenVINO is not installed, so PyTorch runs it") == 1


def test_streams_take_two_calls_at_a_time_and_other_engines_one(store: Path) -> None:
    card = cards.read(store / "tiny-classifier")
    assert engines.calls_at_once(openvino_engine.load(serving(card, threads=2))) == 2
    assert engines.calls_at_once(openvino_engine.load(serving(card, threads=1))) == 1
    assert engines.calls_at_once(torch_cpu.load(card, "cpu")) == 1
