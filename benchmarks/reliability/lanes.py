"""What a subscriber got of each publisher and subject, beside what it should have got; pure."""

from __future__ import annotations

__all__ = ["Lane"]


class Lane:
    """The events of one publisher and one subject, whose numbers are `first`, `first + step` and so on.

    One whose number is higher than the next one's leaves those between missing; a missing one that comes after all
    is out of order; one that is neither next nor missing is doubled.
    """

    __slots__ = ("_missing", "_next", "_step", "doubled", "got", "late")

    def __init__(self, first: int, step: int = 1) -> None:
        self._next = first
        self._step = step
        self._missing: set[int] = set()
        self.got = 0
        self.doubled = 0
        self.late = 0

    def __repr__(self) -> str:
        return f"<Lane {self.got} got, {len(self._missing)} missing, next is {self._next}>"

    def note(self, number: int) -> None:
        """This one came."""
        if number == self._next:
            self._next += self._step
        elif number > self._next:
            self._missing.update(range(self._next, number, self._step))
            self._next = number + self._step
        elif number in self._missing:
            self._missing.discard(number)
            self.late += 1
        else:
            self.doubled += 1
            return
        self.got += 1

    def lost(self, end: int) -> int:
        """Return how many below `end` have not come."""
        return len(self._missing) + len(range(self._next, end, self._step))
