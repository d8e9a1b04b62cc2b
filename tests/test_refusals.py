"""The problems of who calls and how much."""

from service import errors, refusals
from service.errors import ServiceError, every_error


def test_every_refusal_stands_among_all_errors_and_is_imported_from_there() -> None:
    ours = {
        name: found for name, found in vars(refusals).items() if isinstance(found, type) and found is not ServiceError
    }

    assert len(ours) == 6
    assert set(ours.values()) <= set(every_error())
    assert {name: getattr(errors, name) for name in ours} == ours
