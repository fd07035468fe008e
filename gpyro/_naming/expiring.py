"""The leases of a running name server: the book, its clock on the hub, and what becomes of names in the end.

The clock is a place on the wheel of the hub that serves, taken when there is a lease and left when there is none,
or when the server ends. A foreign loop turns that wheel too.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

from gpyro import hub
from gpyro._naming.leasing import LOOK_SECONDS, MAX_LEASES, LeaseBook, check_length
from gpyro._naming.pairing import Pair
from gpyro._naming.primary import Primary
from gpyro._naming.secondary import Secondary
from gpyro._naming.twin import PairStorage
from gpyro.log import Log
from gpyro.namerecords import Changes
from gpyro.names import LEASE, Names, Reason, naming_error
from gpyro.storage.base import NameStorage

__all__ = ["Leases"]

#: Bytes of an id, from the system's own source: who knows it may end the lease.
ID_BYTES = 18
#: Leases that are closed in one change of the storage: one wait for the disk, and some ms of the hub.
CLOSED_AT_ONCE = 500
#: Turns of the loop before names go, in which what waits in the sockets is read: accept, greeting, request.
READ_TURNS = 4


class Leases:
    """The leases that a storage keeps, watched by a clock.

    For a pair, all of which may be left as they are:

        storage       where leases are opened and closed
        may_expire    asked before anything expires; a server that is not told of renewals answers False
        on_renewed    called with the id of each lease that was renewed here; it may not wait
        on_expired    called with what went: the id of a lease, and the names that hung on it
        hear()        note leases that were renewed at the twin
        restart()     give all their full length anew, when this server becomes the one who is told

    `book.listeners` hear of leases that become stale or alive again.

    Resources: none of its own; it leaves the wheel when the server has ended.
    Errors: a storage that fails at the end of a lease is logged, and asked again a second later.
    """

    def __init__(self, storage: NameStorage, has_ended: Callable[[], bool]) -> None:
        self.book = LeaseBook()
        self.may_expire: Callable[[], bool] = lambda: True
        self.on_renewed: Callable[[str], object] | None = None
        self.on_expired: Callable[[Names], object] = lambda gone: None
        #: What the wheel knows it by.
        self.wheel_slot = -1
        self.stream = None
        self.storage = storage
        self._has_ended = has_ended
        self._pair: Pair | None = None
        self._lock = hub.NativeLock()
        self._state: hub.HubState | None = None
        self._epoch = hub.fork_epoch()
        self._expiring = False
        storage.listen(self._note_changes)
        now = time.monotonic()
        for record in storage.leases():
            # Nobody could renew as long as there was no server: all begin anew.
            self.book.add(record.name, record.seconds, now, record.owner)

    def __repr__(self) -> str:
        return f"<Leases {self.book!r}, {'not watched' if self._state is None else 'watched'}>"

    def join(self, storage: PairStorage) -> None:
        """Share the leases with a twin from now on: one of the two decides when they are over."""
        pair = self._pair = storage.pair
        self.storage = storage
        self.may_expire = pair.decides
        self.on_expired = pair.forget_graves_of
        pair.on_lead = self.restart
        if isinstance(pair, Primary):
            pair.on_renewals = self.hear
        elif isinstance(pair, Secondary):
            self.on_renewed = pair.note_renewed

    # -- what callers ask for --------------------------------------------------------------------------------

    def open(self, seconds: float, owner: str | None, created: float) -> str:
        """Begin a lease and return its id.

        Raises:
            ValueError: the length is none. NamingError: there are too many.
        """
        seconds = check_length(seconds)
        lease = secrets.token_urlsafe(ID_BYTES)
        if len(self.book) >= MAX_LEASES:
            raise naming_error(Reason.TOO_MANY, "", f": there are {MAX_LEASES} leases already, which is the limit")
        self.storage.open_lease(lease, seconds=seconds, created=created, owner=owner)
        with self._lock:
            self.book.add(lease, seconds, time.monotonic(), owner)
        return lease

    def renew(self, lease: str, caller: Any) -> int:
        """Note that its holder was heard of; return how many names hang on it.

        Raises:
            NamingError: its reason is "lease is over".
        """
        with self._lock:
            self.book.renew(lease, time.monotonic(), caller)
        if self.on_renewed is not None:
            self.on_renewed(lease)
        return len(self.storage.held_by(lease))

    def close(self, lease: str) -> None:
        """End a lease with all names that hang on it.

        Raises:
            NamingError: its reason is "lease is over".
        """
        self.storage.close_lease(lease)
        with self._lock:
            self.book.remove(lease)

    def hear(self, leases: Names) -> None:
        """Note leases that the twin has seen renewed; one that is over stays so."""
        with self._lock:
            for lease in leases:
                if lease in self.book:
                    self.book.renew(lease, time.monotonic())

    def restart(self, state: hub.HubState | None = None) -> None:
        """Give all leases their full length anew, and watch them."""
        with self._lock:
            self.book.restart(time.monotonic())
        self.watch(state)

    def _note_changes(self, changes: Changes) -> None:
        """Follow the storage, whoever changed it; of a pair the twin may have."""
        for change in changes:
            if change.after is not None and change.after.kind == LEASE:
                with self._lock:
                    self.book.add(change.name, change.after.seconds, time.monotonic(), change.after.owner)
                if self._pair is not None and self._pair.hub_state is not None:
                    self.watch(self._pair.hub_state)
            elif change.before is not None and change.before.kind == LEASE:
                with self._lock:
                    self.book.remove(change.name)

    # -- the clock -------------------------------------------------------------------------------------------

    def watch(self, state: hub.HubState | None = None) -> None:
        """See that the clock runs, if there is a lease, on this hub or this thread's; harmless when repeated."""
        if self._state is not None and not self._state.ended and self._epoch == hub.fork_epoch():
            return
        if len(self.book):
            state = hub.current_state() if state is None else state
            hub.run_soon_or_now(state, lambda: self._take_place(state))

    def _take_place(self, state: hub.HubState) -> None:
        if self._state is None or self._state.ended or self._epoch != hub.fork_epoch():
            self._state, self._epoch = state, hub.fork_epoch()
            state.watch(self, int(LOOK_SECONDS))

    def tick(self) -> int:
        """Look at the time that passed; called by the wheel."""
        if self._epoch != hub.fork_epoch():
            # A forked child: its parent looks after the names.
            return 0
        if not len(self.book) or self._has_ended():
            self._state = None
            return 0
        if self.may_expire():
            with self._lock:
                over = self.book.look(time.monotonic())
            if over and not self._expiring and self._state is not None:
                self._expiring = True
                hub.spawn_in(self._state, lambda: self._expire(over))
        return int(LOOK_SECONDS)

    def hub_ended(self) -> None:
        """The thread ends."""
        self._state = None

    def _expire(self, over: list[str]) -> None:
        try:
            # A renewal may have come in the same turn of the loop.
            hub.run_pending(READ_TURNS)
            for start in range(0, len(over), CLOSED_AT_ONCE):
                with self._lock:
                    now, some = time.monotonic(), over[start : start + CLOSED_AT_ONCE]
                    closing = [x for x in some if self.may_expire() and self.book.begin_closing(x, now)]
                if closing:
                    self._close_for_good(closing)
        finally:
            self._expiring = False

    def _close_for_good(self, leases: Names) -> None:
        try:
            held = [name for lease in leases for name in self.storage.held_by(lease)]
            gone = self.storage.close_leases(leases)
        except Exception as exc:
            with self._lock:
                for lease in leases:
                    self.book.stop_closing(lease)
            Log.error("NameServer", f"the names of {len(leases)} leases could not be removed: {exc}")
            return
        with self._lock:
            for lease in leases:
                self.book.remove(lease)
        self.on_expired([*leases, *held])
        text = f"{len(leases)} leases were not renewed in time; {len(gone)} names went with them: {gone[:10]}"
        Log.msg("NameServer", text)
