"""A gateway process among others on one host: what it tells them, and what they tell."""

from service.host.gateway_slots import EMPTY, READY, WAITING, GatewaySlot, SlotStates


class SlotMember:
    """One process's seat, or none where it is alone.

    A process that takes the place of one that ended holds nobody back until it has sat down: the others have been
    serving all the time, and the instance stays ready.
    """

    def __init__(self, seat: GatewaySlot | None = None, states: SlotStates | None = None) -> None:
        self._seat = seat
        self._states = states
        self.replaces = seat is not None and seat.before != 0
        self._standing = self.replaces
        self.figures = seat.folder if seat is not None else None  # where all processes' metrics are

    @property
    def others_ready(self) -> bool:
        """Whether no process is waiting for its models."""
        return self._states is None or self._states.all_ready

    def tell(self, *, ready: bool) -> None:
        """Tell the others whether this process's models are ready."""
        if ready or not self._standing:
            self._set(READY if ready else WAITING)

    def sit_down(self) -> None:
        """Count as the others do from now on."""
        self._standing = False

    def leave(self) -> None:
        """Hold nobody back any more: this process is about to end."""
        self._set(EMPTY)

    def _set(self, state: int) -> None:
        if self._seat is not None and self._states is not None:
            self._states.tell(self._seat.number, state)


ALONE = SlotMember()
