"""PyTorch, eager: single precision on the CPU and on CUDA."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from service.cards import CardError, ModelCard
from service.engines import checkpoint
from service.networks.segmentation import Segmenter

Outputs = dict[str, Tensor]


class Normalise(nn.Module):
    """`(n, h, w, 3)` uint8 to `(n, 3, h, w)` float32 of the mean and deviation the network was trained with."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        deviation = torch.tensor(std, dtype=torch.float64)
        offset = -torch.tensor(mean, dtype=torch.float64) / deviation
        self.register_buffer("scale", (1 / (255 * deviation)).float().view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", offset.float().view(1, 3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Channels first, zero mean, unit deviation."""
        return torch.addcmul(self.shift, pictures.permute(0, 3, 1, 2).float(), self.scale)


class Graph(nn.Module):
    """A network between the pixels of pictures and what its task answers."""

    def __init__(self, normalise: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.normalise = normalise
        self.network = network


class Classification(Graph):
    """Pictures to the probability of each class."""

    def forward(self, pictures: Tensor) -> Outputs:
        """`(n, h, w, 3)` uint8 to `scores` (n, classes)."""
        logits: Tensor = self.network(self.normalise(pictures))
        return {"scores": logits.float().softmax(dim=1)}


class Segmentation(Graph):
    """Pictures to the likeliest class of each pixel, and each class's mean probability where it is the likeliest."""

    def forward(self, pictures: Tensor) -> Outputs:
        """`(n, h, w, 3)` uint8 to `mask` (n, h, w) and `class_scores` (n, classes)."""
        logits: Tensor = self.network(self.normalise(pictures))
        masks, class_scores = zip(*(_reduce(each) for each in logits.float()), strict=True)
        return {"mask": torch.stack(masks), "class_scores": torch.stack(class_scores)}


def _reduce(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Logits `(classes, h, w)`, overwritten, to a mask `(h, w)` uint8 and mean maximal probabilities `(classes,)`.

    The likeliest class's probability is exp(max - logsumexp) = 1 / sum(exp(logit - max)), so that no second array of
    the logits' size (160 MB for 150 classes at 520 px) is made.
    """
    highest, mask = logits.max(dim=0)
    confidence = logits.sub_(highest).exp_().sum(dim=0).reciprocal_()
    flat = mask.flatten()
    sums = torch.bincount(flat, weights=confidence.flatten().double(), minlength=len(logits))
    counts = torch.bincount(flat, minlength=len(logits))
    return mask.to(torch.uint8), (sums / counts.clamp(min=1)).float()


MASK_CLASSES = 255  # a byte a pixel, and 255 is for none of them (`masks.VOID`)

GRAPHS: dict[str, type[Graph]] = {
    "classification": Classification,
    "segmentation": Segmentation,
}


# Milliseconds a picture on one core, weights as they come and channels last: resnest14 at 160 px 25.5 and 25.5,
# resnest50 at 224 px 116 and 125; deeplab_resnest14 at 160 px 128 and 99, deeplab_resnest50 at 240 px 540 and 474.
CPU_LAYOUTS = {"classification": torch.contiguous_format, "segmentation": torch.channels_last}


class TorchEngine:
    """A graph on a device; see `service.engines.Engine` for what it answers."""

    def __init__(self, graph: Graph, device: torch.device) -> None:
        self.graph = graph
        self.device = device

    @torch.inference_mode()
    def __call__(self, pictures: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.generic]]:
        """One forward pass over `(n, h, w, 3)`."""
        outputs = self.graph(torch.from_numpy(np.require(pictures, requirements=["C", "W"])).to(self.device))
        return {name: tensor.cpu().numpy() for name, tensor in outputs.items()}


def load(card: ModelCard, device: str | None = None) -> TorchEngine:
    """The card's network with its weights. Raises `CardError` where they cannot be had or do not fit."""
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    network = _network(card)
    checkpoint.fill(network, checkpoint.read(card), card.name)
    if where.type == "cpu":
        network = network.to(memory_format=CPU_LAYOUTS[card.task])  # type: ignore[call-overload]
    graph = GRAPHS[card.task](Normalise(card.input.mean, card.input.std), network)
    return TorchEngine(graph.to(where).eval(), where)


def _network(card: ModelCard) -> nn.Module:
    try:
        network = checkpoint.skeleton(card.network)
    except CardError as error:
        raise CardError(f"{card.name}: {error}") from error
    if isinstance(network, Segmenter) != (card.task == "segmentation"):
        raise CardError(f"{card.name}: its network {card.network.name} is not for {card.task}")
    if card.task == "segmentation" and card.network.classes > MASK_CLASSES:
        raise CardError(f"{card.name}: it has {card.network.classes} classes, and a mask has room for {MASK_CLASSES}")
    return network


def out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch may succeed where this error came up."""
    exhausted = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return exhausted or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))


def device_lost(error: BaseException) -> bool:
    """Whether every later call in this process will fail too: a CUDA error other than a lack of memory."""
    return isinstance(error, torch.AcceleratorError)
