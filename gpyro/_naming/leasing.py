"""Leases on paper: who was heard of when, who is stale, and whose time is over.

    live     renewed within the last two thirds of its length
    stale    not renewed since then; its names are still resolved, and may be taken over
    over     not renewed for its whole length; its names go at the next look, and a renewal is refused

    A lease is over never before its length after the last renewal that was answered, and its names are gone at
    most 2 s after that: as long as somebody looks each second.

Looks that come late tell that nobody could be heard meanwhile: renewals may wait unread. So the book has a clock
of its own, which stands still while looks are overdue. A lease has after a stop what it had before it.

Pure: times are arguments, seconds of a clock that never jumps. Not made for several threads at once; its owner
sees to that, but for `is_stale`, `is_abandoned` and `len`, which only read.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any

from gpyro.names import Names, Reason, naming_error

__all__ = ["LOOK_SECONDS", "MAX_LEASES", "LeaseBook", "check_length"]

#: Shortest and longest lease: below the first a busy machine would lose names, beyond the second nobody waits.
MIN_LEASE_SECONDS, MAX_LEASE_SECONDS = 1.0, 3600.0
#: Most leases: each is that of a process with a connection, and a server holds at most 16,000 of those.
MAX_LEASES = 20_000
#: The part of its length after which a lease is stale: a holder that renews each third has missed one then.
STALE_SHARE = 2 / 3
#: Seconds between two looks.
LOOK_SECONDS = 1.0
#: How much later a look has to come to tell that nobody was heard.
LATE_SECONDS = 0.5
#: What an answer may take to its caller, for whom the lease begins anew only then.
ANSWER_SECONDS = 0.25

#: Called with "stale" or "alive" and the id of a lease; it may neither wait nor change the book.
LeaseListener = Callable[[str, str], object]


def check_length(seconds: Any) -> float:
    """Return the length of a lease.

    Raises:
        ValueError: it is no number, or out of bounds.
    """
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not MIN_LEASE_SECONDS <= seconds <= MAX_LEASE_SECONDS:
        raise ValueError(
            f"a lease of {seconds!r} seconds; it lasts from {MIN_LEASE_SECONDS:g} to {MAX_LEASE_SECONDS:g} seconds"
        )
    return float(seconds)


class _Lease:
    """One lease: its length, whose it is, when it was renewed by the book's clock, and over which connection."""

    __slots__ = ("caller", "closing", "owner", "renewed", "seconds", "stale")

    def __init__(self, seconds: float, renewed: float, owner: str | None) -> None:
        self.seconds = seconds
        self.owner = owner
        self.renewed = renewed
        self.stale = False
        #: Its names are being removed; nothing can save it any more.
        self.closing = False
        #: The connection of the last renewal, weakly; None before the first.
        self.caller: Callable[[], Any] | None = None

    def stale_at(self) -> float:
        return self.renewed + self.seconds * STALE_SHARE

    def over_at(self) -> float:
        return self.renewed + self.seconds + ANSWER_SECONDS


class LeaseBook:
    """All leases of one name server.

    `listeners` hear of leases that become stale and of such that are alive again; `renewals` counts.
    """

    def __init__(self) -> None:
        self.listeners: list[LeaseListener] = []
        self.renewals = 0
        self._leases: dict[str, _Lease] = {}
        #: Seconds in which nobody could be heard.
        self._held = 0.0
        self._looked = 0.0
        #: Nothing becomes stale or over before this, by the book's clock.
        self._quiet_until = -math.inf

    def __len__(self) -> int:
        return len(self._leases)

    def __contains__(self, lease: str) -> bool:
        """Tell whether it is one on which names can be hung."""
        entry = self._leases.get(lease)
        return entry is not None and not entry.closing

    def __repr__(self) -> str:
        return f"<LeaseBook of {len(self)} leases, {self.stale} stale>"

    @property
    def stale(self) -> int:
        """The number of stale leases."""
        return sum(lease.stale for lease in list(self._leases.values()))

    # -- asking ----------------------------------------------------------------------------------------------

    def is_stale(self, lease: str) -> bool:
        """Tell whether the holder has not been heard of for two thirds of the length."""
        entry = self._leases.get(lease)
        return entry is not None and entry.stale

    def is_abandoned(self, lease: str) -> bool:
        """Tell whether what hangs on a lease may be taken over: it is stale, or its holder's connection has ended.

        So it may where nobody knows the lease.
        """
        entry = self._leases.get(lease)
        if entry is None or entry.stale or entry.closing:
            return True
        if entry.caller is None:
            return False
        caller = entry.caller()
        return caller is None or not caller.is_open()

    def owner_of(self, lease: str) -> str | None:
        """Return who has opened a lease on which names can be hung.

        Raises:
            NamingError: its reason is "lease is over"; so it is for one that there never was.
        """
        return self._living(lease).owner

    def _living(self, lease: str) -> _Lease:
        entry = self._leases.get(lease)
        if entry is None or entry.closing:
            raise naming_error(Reason.LEASE_OVER, lease, "; open a new one, and register what hung on it again")
        return entry

    # -- the life of a lease ---------------------------------------------------------------------------------

    def add(self, lease: str, seconds: float, now: float, owner: str | None = None) -> None:
        """Take in a lease that begins now; one that is known already stays as it is."""
        if lease in self._leases:
            return
        if self._leases:
            self._notice_lateness(now)
        else:
            # Nobody has looked as long as there was nothing to look at.
            self._looked = now
        entry = self._leases[lease] = _Lease(seconds, now - self._held, owner)
        self._quiet_until = min(self._quiet_until, entry.stale_at())

    def renew(self, lease: str, now: float, caller: Any = None) -> None:
        """The holder has been heard of.

        Args:
            caller: the connection that it came over; kept weakly, and asked `is_open()`.

        Raises:
            NamingError: its reason is "lease is over".
        """
        entry = self._living(lease)
        self._notice_lateness(now)
        entry.renewed = now - self._held
        entry.caller = None if caller is None else weakref.ref(caller)
        self.renewals += 1
        if entry.stale:
            entry.stale = False
            self._tell("alive", [lease])

    def remove(self, lease: str) -> None:
        """Forget a lease that has been closed; harmless where it is not known."""
        self._leases.pop(lease, None)

    def restart(self, now: float) -> None:
        """Give all leases their whole length anew: this server has only now become the one who is told."""
        self._notice_lateness(now)
        back = [lease for lease, entry in self._leases.items() if entry.stale]
        for entry in self._leases.values():
            entry.renewed, entry.stale, entry.caller = now - self._held, False, None
        self._quiet_until = -math.inf
        self._tell("alive", back)

    # -- looking ---------------------------------------------------------------------------------------------

    def look(self, now: float) -> Names:
        """Note who has become stale, and return the leases that are over."""
        if self._notice_lateness(now):
            # First let those be heard who could not be.
            return []
        self._looked = now
        clock = now - self._held
        if clock < self._quiet_until:
            return []
        over, fresh, quiet_until = [], [], math.inf
        for lease, entry in self._leases.items():
            if not entry.stale and clock >= entry.stale_at():
                entry.stale = True
                fresh.append(lease)
            if clock >= entry.over_at():
                over.append(lease)
            quiet_until = min(quiet_until, entry.over_at() if entry.stale else entry.stale_at())
        self._quiet_until = quiet_until
        self._tell("stale", fresh)
        return over

    def begin_closing(self, lease: str, now: float) -> bool:
        """Refuse renewals from now on, if the lease is over still; tell whether that is so."""
        entry = self._leases.get(lease)
        if entry is None or now - self._held < entry.over_at():
            return False
        entry.closing = True
        return True

    def stop_closing(self, lease: str) -> None:
        """Its names could not be removed; the next look returns it again, unless it is renewed."""
        entry = self._leases.get(lease)
        if entry is not None:
            entry.closing = False

    def _notice_lateness(self, now: float) -> bool:
        late = now - self._looked - LOOK_SECONDS
        if late <= LATE_SECONDS or not self._leases:
            return False
        self._held += late
        self._looked = now
        return True

    def _tell(self, event: str, leases: Names) -> None:
        for lease in leases:
            for listener in self.listeners:
                listener(event, lease)
