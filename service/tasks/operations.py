"""What a worker can be asked of a picture, besides its task's own answer, and what that takes."""

from typing import Final, Literal

from service.models.cards import ModelCard, Task
from service.models.inputs import Input
from service.tasks import multiscale

Question = Literal["answer", "embedding", "explanation", "confidence", "best"]
Quality = Literal["fast", "best"]

QUESTIONS: Final[dict[Task, tuple[Question, ...]]] = {
    "classification": ("answer", "embedding", "explanation"),
    "segmentation": ("answer", "confidence", "best"),
}
OF_QUALITY: Final[dict[Quality, Question]] = {"fast": "answer", "best": "best"}

# The long side in pixels of what `best` is given, at least twice that of its largest scale for the authors' networks.
# Their pictures are seldom larger; of a larger one the protocol would skip pixels as it makes it small.
BEST_SIDE = 2048
BEST_DEADLINES = 10  # of a single pass, where the card names none
BEST_PICTURES = 4  # of one request
BEST_PLACES = 8  # of a picture: its pixels take up to sixteen times the memory of a single pass's


def can_answer(card: ModelCard, question: Question) -> bool:
    """Whether a model can be asked that; of networks that are not our own only their answers are known."""
    return question in QUESTIONS[card.task] and (question == "answer" or card.network.library == "own")


def input_of(card: ModelCard, question: Question) -> Input:
    """How a picture becomes what the worker is given with that question."""
    if question != "best":
        return card.input
    return card.input.model_copy(update={"profile": "whole", "size": BEST_SIDE, "short": None, "multiple": 1})


def deadline_s(card: ModelCard, question: Question) -> float:
    """Seconds that a picture has where its request names none."""
    single = card.serving.deadline_s
    return single if question != "best" else card.best.deadline_s or BEST_DEADLINES * single


def longest_deadline_s(card: ModelCard) -> float:
    """The longest of its questions' deadlines."""
    return max(deadline_s(card, each) for each in QUESTIONS[card.task] if can_answer(card, each))


def cost(card: ModelCard, question: Question) -> float:
    """How many times the work of the model's answer that is."""
    return multiscale.cost(card.input, card.best) if question == "best" else 1.0


def most_together(card: ModelCard, question: Question) -> int:
    """How many pictures one exchange with a worker holds at most: `best` fills batches by itself."""
    return 1 if question == "best" else card.serving.batch_size


def lane(model: str, question: Question) -> str:
    """The queue in which a picture waits: long work waits in one of its own. No model's name has a space."""
    return f"{model} best" if question == "best" else model
