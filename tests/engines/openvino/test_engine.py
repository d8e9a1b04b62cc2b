"""The OpenVINO engine: its cache, its errors and its outputs."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from service.engines import Engine, torch_cpu
from service.engines.openvino import engine as openvino_engine
from service.engines.openvino.compile_cache import CompileCache
from service.engines.openvino.conversion import ConversionError
from service.models import cards
from service.models.cards import CardError, ModelCard
from tests.stores import serving, write_store

Pixels = npt.NDArray[np.uint8]


@pytest.fixture
def card(store: Path) -> ModelCard:
    return cards.read(store / "tiny-classifier")


@pytest.fixture(scope="module")
def compiled(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the cache after a first start of the classifier. Do not change it."""
    folder = tmp_path_factory.mktemp("compiled")
    openvino_engine.load(cards.read(store / "tiny-classifier"), cache=CompileCache(folder))
    return folder


@pytest.fixture
def filled(compiled: Path, tmp_path: Path) -> Path:
    """Return a copy of that cache. A first start takes a second of a core, and a second one a tenth."""
    return shutil.copytree(compiled, tmp_path / "filled")


def kept(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_start_reads_what_the_first_has_kept(card: ModelCard, images: Pixels, tmp_path: Path) -> None:
    first = openvino_engine.load(card, cache=CompileCache(tmp_path))(images)["scores"]
    (path,) = kept(tmp_path)
    written = path.stat().st_mtime_ns
    second = openvino_engine.load(card, cache=CompileCache(tmp_path))(images)["scores"]
    np.testing.assert_array_equal(first, second)
    assert [each.stat().st_mtime_ns for each in kept(tmp_path)] == [written]


def test_a_first_start_keeps_neither_the_torch_network_nor_what_would_check_it(store: Path, tmp_path: Path) -> None:
    program = (
        "import gc, sys; from pathlib import Path; import torch; from service.models import cards\n"
        "from service.engines.openvino import engine as openvino_engine\n"
        "from service.engines.openvino.compile_cache import CompileCache\n"
        "engine = openvino_engine.load(cards.read(Path(sys.argv[1])), cache=CompileCache(Path(sys.argv[2])))\n"
        "kept = [each for each in gc.get_objects() if type(each) is torch.nn.Parameter and not each.is_meta]\n"
        "print(len(kept), sorted({'sympy', 'torch.distributed.tensor'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", program, str(store / "tiny-classifier"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    assert done.stdout == "0 []\n"
    assert kept(tmp_path)


def test_a_second_start_builds_no_torch_network(card: ModelCard, filled: Path, tmp_path: Path) -> None:
    """The weights have the right checksum but cannot be parsed, so only the cache can provide the network."""
    (path,) = kept(filled)
    folder = write_store(tmp_path / "other", "tiny-classifier", weights=False) / "tiny-classifier"
    folder.joinpath("weights.safetensors").write_bytes(card.weights_path.read_bytes())
    weights = card.weights.model_copy(update={"format": "pth"})
    unreadable = card.model_copy(update={"folder": folder, "weights": weights})
    assert openvino_engine.load(unreadable, cache=CompileCache(filled))
    path.unlink()
    with pytest.raises(CardError, match="is not a pth weight file"):
        openvino_engine.load(unreadable, cache=CompileCache(filled))


def test_weights_that_were_exchanged_are_refused_with_a_full_cache_too(filled: Path, tmp_path: Path) -> None:
    card = cards.read(write_store(tmp_path / "store", "tiny-classifier") / "tiny-classifier")
    before = kept(filled)
    openvino_engine.load(card, cache=CompileCache(filled))
    assert kept(filled) == before
    card.weights_path.write_bytes(b"others")
    with pytest.raises(CardError, match="SHA-256"):
        openvino_engine.load(card, cache=CompileCache(filled))


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        ("weights", {"sha256": "0" * 64}),
        ("network", {"classes": 8}),
        ("network", {"library": "timm"}),
        ("input", {"std": (0.3, 0.3, 0.3)}),
        ("input", {"size": 96}),
    ],
)
def test_another_model_is_never_taken_for_what_was_kept(
    card: ModelCard, table: str, changes: dict[str, object]
) -> None:
    other = card.model_copy(update={table: getattr(card, table).model_copy(update=changes)})
    keys = {openvino_engine.key(each, hint) for each in (card, card, other) for hint in ("f32", "bf16")}
    assert len(keys) == 4


@pytest.mark.parametrize("times", [0, 1, 100])
def test_what_was_kept_and_cannot_be_used_is_made_anew(
    card: ModelCard, images: Pixels, filled: Path, caplog: pytest.LogCaptureFixture, times: int
) -> None:
    cache = CompileCache(filled)
    expected = openvino_engine.load(card, cache=cache)(images)["scores"]
    (path,) = kept(filled)
    cache.write(card.name, path.stem, times * b"sound, and no compiled model")
    np.testing.assert_array_equal(openvino_engine.load(card, cache=cache)(images)["scores"], expected)
    assert "compiling again" in caplog.text
    caplog.clear()
    openvino_engine.load(card, cache=cache)
    assert not caplog.text


def test_it_works_where_nothing_can_be_kept(card: ModelCard, images: Pixels, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    engine = openvino_engine.load(card, cache=CompileCache(tmp_path / "file"))
    assert engine(images)["scores"].shape == (6, 7)


def test_pictures_need_not_lie_in_one_piece(card: ModelCard, images: Pixels) -> None:
    engine = openvino_engine.load(card)
    np.testing.assert_array_equal(engine(images[::2])["scores"], engine(images[::2].copy())["scores"])


def test_an_answer_is_not_changed_by_the_next(card: ModelCard, images: Pixels) -> None:
    engine = openvino_engine.load(card)
    first = engine(images[:1])["scores"]
    before = first.copy()
    engine(images[1:2])
    np.testing.assert_array_equal(first, before)


def test_threads_may_call_it_at_the_same_time_and_each_gets_its_own_answers(store: Path, images: Pixels) -> None:
    engine = openvino_engine.load(serving(cards.read(store / "tiny-classifier"), threads=2))
    batches = [images[start : start + count] for start in range(3) for count in (1, 2, 3)]
    expected = [engine(batch)["scores"] for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for found, right in zip(pool.map(engine, batches), expected, strict=True):
                np.testing.assert_allclose(found["scores"], right, atol=1e-5)


def test_a_network_that_cannot_be_compiled_is_told_with_its_reason(card: ModelCard) -> None:
    wrong = card.model_copy(update={"input": card.input.model_copy(update={"size": 0})})
    with pytest.raises(ConversionError, match=r"tiny-classifier: OpenVINO cannot run resnest14: \w+"):
        openvino_engine.compile_model(wrong, openvino_engine.settings_of(wrong))


@pytest.mark.parametrize("count", [1, 2])
def test_a_card_tells_how_many_threads_it_has(card: ModelCard, count: int, tmp_path: Path) -> None:
    """The second time the model comes from the cache, whose key does not contain the threads."""
    for _ in range(2):
        assert openvino_engine.load(serving(card, threads=count), cache=CompileCache(tmp_path)).threads == count


def test_processes_that_start_at_once_answer_alike(store: Path, images: Pixels, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", images)
    program = (
        "import sys; import numpy as np; from pathlib import Path; from service.models import cards\n"
        "from service.engines.openvino import engine as openvino_engine\n"
        "from service.engines.openvino.compile_cache import CompileCache\n"
        "engine = openvino_engine.load(cards.read(Path(sys.argv[1])), cache=CompileCache(Path(sys.argv[2])))\n"
        "print(engine(np.load(sys.argv[3]))['scores'].tobytes().hex())"
    )
    paths = [str(store / "tiny-classifier"), str(tmp_path / "cache"), str(tmp_path / "images.npy")]
    started = [
        subprocess.Popen([sys.executable, "-c", program, *paths], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    try:
        first, second = (process.communicate(timeout=240)[0] for process in started)
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert first == second != ""
    assert len(kept(tmp_path / "cache")) == 1


@pytest.fixture(scope="module", params=["tiny-classifier", "tiny-segmenter"])
def both(request: pytest.FixtureRequest, store: Path) -> tuple[Engine, Engine]:
    """The engines of OpenVINO and PyTorch for a model, in single precision."""
    card = serving(cards.read(store / request.param), precision="fp32")
    return openvino_engine.load(card), torch_cpu.load(card, "cpu")


@pytest.mark.parametrize("count", [1, 3, 6])
def test_every_batch_size_gets_the_same_answers(both: tuple[Engine, Engine], images: Pixels, count: int) -> None:
    ours, theirs = (engine(images[:count]) for engine in both)
    assert ours.keys() == theirs.keys()
    for array in ours:
        assert ours[array].dtype == theirs[array].dtype
        assert ours[array].shape == theirs[array].shape


@pytest.mark.parametrize("both", ["tiny-segmenter"], indirect=True)
@pytest.mark.parametrize("shape", [(64, 16), (16, 64), (32, 48)])
def test_segmentation_takes_pictures_of_every_shape(
    both: tuple[Engine, Engine], images: Pixels, shape: tuple[int, int]
) -> None:
    part = images[:2, : shape[0], : shape[1]]
    ours, theirs = (engine(part) for engine in both)
    assert (ours["mask"] == theirs["mask"]).mean() >= 0.995
    np.testing.assert_allclose(ours["class_scores"], theirs["class_scores"], atol=1e-3)
