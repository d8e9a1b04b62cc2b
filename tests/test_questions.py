"""What a worker can be asked."""

from typing import get_args

from service.cards import Task
from service.questions import QUESTIONS, Question


def test_every_task_answers_and_every_question_is_some_tasks() -> None:
    assert set(QUESTIONS) == set(get_args(Task))
    assert all("answer" in questions for questions in QUESTIONS.values())
    assert {question for questions in QUESTIONS.values() for question in questions} == set(get_args(Question))
