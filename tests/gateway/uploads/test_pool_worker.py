"""The outcome of a job in a decode process. `test_process_pool` tests its limits."""

import socket
import threading

from service.errors import ImageTooLarge
from service.gateway.uploads import pickle_frames
from service.gateway.uploads.pool_worker import outcome_of
from tests.gateway.fixtures import hostile_work


def test_an_outcome_says_whether_the_job_answered() -> None:
    assert outcome_of(hostile_work.add, (1, 2)) == (True, 3)
    succeeded, error = outcome_of(hostile_work.refuse, ())
    assert (succeeded, type(error)) == (False, ImageTooLarge)


def test_an_error_keeps_its_members_on_the_way() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, theirs.makefile("rb") as incoming:
        thread = threading.Thread(target=pickle_frames.write, args=(ours, outcome_of(hostile_work.refuse, ())))
        thread.start()
        _, error = pickle_frames.read(incoming)
        thread.join(30)

    assert (error.detail, error.limit, error.actual) == ("too large", 3, 4)
