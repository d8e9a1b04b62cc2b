"""What a worker can be asked."""

from pathlib import Path
from typing import get_args

from service.models import cards
from service.models.cards import Task
from service.tasks.operations import OF_QUALITY, QUESTIONS, Quality, Question, can_answer, cost, input_of, lane

STORE = Path(__file__).parents[2] / "model_store"


def test_every_task_answers_and_every_question_is_some_tasks() -> None:
    assert set(QUESTIONS) == set(get_args(Task))
    assert all("answer" in questions for questions in QUESTIONS.values())
    assert {question for questions in QUESTIONS.values() for question in questions} == set(get_args(Question))
    assert set(OF_QUALITY) == set(get_args(Quality))


def test_only_the_best_mask_has_an_input_a_cost_and_a_lane_of_its_own() -> None:
    segmenter = cards.read(STORE / "starter-segmenter")
    for question in QUESTIONS["segmentation"]:
        own = question == "best"
        assert can_answer(segmenter, question)
        assert (input_of(segmenter, question) == segmenter.input) is not own
        assert (cost(segmenter, question) == 1) is not own
        assert (lane("m", question) == "m") is not own
    assert (input_of(segmenter, "best").profile, input_of(segmenter, "best").size) == ("whole", 2048)
