"""What a worker can be asked of a picture, besides its task's own answer."""

from typing import Final, Literal

from service.cards import ModelCard, Task

Question = Literal["answer", "embedding", "explanation", "confidence"]

QUESTIONS: Final[dict[Task, tuple[Question, ...]]] = {
    "classification": ("answer", "embedding", "explanation"),
    "segmentation": ("answer", "confidence"),
}


def can_answer(card: ModelCard, question: Question) -> bool:
    """Whether a model can be asked that; of networks that are not our own only their answers are known."""
    return question in QUESTIONS[card.task] and (question == "answer" or card.network.library == "own")
