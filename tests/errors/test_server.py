"""Problems of the service itself."""

from service import errors
from service.errors import every_error, server


def test_every_problem_of_the_service_is_among_all_errors_and_is_imported_from_the_package() -> None:
    defined = {error.__name__: error for error in every_error() if error.__module__ == server.__name__}

    assert {error.status // 100 for error in defined.values()} == {5}
    assert {name: getattr(errors, name) for name in defined} == defined
