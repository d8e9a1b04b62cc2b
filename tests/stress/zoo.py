"""Makes a store of published models with random weights. Each checkpoint has the layout of the published one."""

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner

from service.cli.main import main
from service.models import zoo
from service.models.cards import KeyProfile, ModelCard
from service.models.weights import checkpoint
from tests.models.weights.checkpoints import State, mmseg, openmmlab, pth, zipped
from tests.models.weights.detector_layouts import detectron2, mmdet
from tests.networks.sharing import random_state

STORE = Path(__file__).parents[2] / "model_store"
ZOO = {name: card for name, card in zoo.read_zoo(STORE).items() if card.weights.sources}
SIDE = 64  # pixels of the reduced inputs

LAYOUTS: dict[KeyProfile, Callable[[State], State]] = {
    "official": dict,
    "timm": dict,
    "encoding": dict,
    "openmmlab": openmmlab,
    "mmseg": mmseg,
    "mmdet": mmdet,
    "detectron2": detectron2,
    "detectron2_bgr": detectron2,
}


def made_checkpoint(card: ModelCard) -> bytes:
    """Return random weights in the layout of the card's first source."""
    state = random_state(checkpoint.skeleton(card.network))
    halves = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    return pth({"state_dict": LAYOUTS[card.weights.sources[0].profile](halves)})


def import_made(store: Path, name: str, temporary: Path) -> None:
    """Put the model into `store` with `models import`, as a user without internet does.

    The card is the published one, with a smaller input size and the checksum of the made file.
    """
    card, folder = ZOO[name], store / name
    source, data = card.weights.sources[0], made_checkpoint(card)
    file = temporary / (source.urls[0].rpartition("/")[2] if source.without_checksum else f"{name}.file")
    file.write_bytes(zipped(**{f"{name}__pth": data}) if source.urls[0].endswith(".zip") else data)
    text = (card.folder / "card.toml").read_text(encoding="utf-8")
    for kind, stated in (("sha256", source.sha256), ("sha1", source.sha1), ("digest", source.digest)):
        if stated is not None:
            found = hashlib.new("sha1" if kind == "digest" else kind, data).hexdigest()[: len(stated)]
            text = text.replace(f'{kind} = "{stated}"', f'{kind} = "{found}"')
    text = re.sub(r"(?m)^size = \d+$", f"size = {SIDE}", text)
    text = re.sub(r"(?m)^short = \d+$", f"short = {SIDE // 2}", text)
    text = re.sub(r"(?m)^window = \d+$", f"window = {SIDE}", text)
    folder.mkdir(parents=True)
    (folder / "card.toml").write_text(text, encoding="utf-8")
    if not (store / "labels").exists():
        shutil.copytree(STORE / "labels", store / "labels")
    # In this process, which has torch: to load it takes a second of a core.
    done = CliRunner().invoke(main, ["models", "import", str(file), "--name", name, "--store", str(store)])
    assert done.exit_code == 0, done.output
    file.unlink()
