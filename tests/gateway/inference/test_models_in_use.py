"""Which models requests use."""

from contextlib import suppress

from service.gateway.inference.models_in_use import ModelsInUse
from service.models.cards import ModelCard


def test_a_model_is_used_from_the_choice_to_the_end_of_a_request(served: dict[str, ModelCard]) -> None:
    in_use, card = ModelsInUse(), served["tiny-classifier"]
    with suppress(RuntimeError), in_use.hold([card, served["tiny-segmenter"]]):
        with in_use.hold([card]):
            assert in_use.users("tiny-classifier") == 2
        assert in_use.users("tiny-classifier") == in_use.users("tiny-segmenter") == 1
        raise RuntimeError
    assert in_use.users("tiny-classifier") == in_use.users("tiny-segmenter") == 0


def test_a_name_that_has_passed_to_another_model_counts_for_that_one(served: dict[str, ModelCard]) -> None:
    in_use, old = ModelsInUse(), served["tiny-classifier"]
    new = old.model_copy(update={"registered_as": "tiny-classifier@2.0.2"})
    with in_use.hold([old]):
        assert in_use.users(new.server_name) == 0
    in_use.forget(old)
    assert in_use.users("tiny-classifier") == 0
