"""One lease that this process has with a name server, renewed from a native thread of its own.

The thread has a hub and a connection of its own, so that names stay whatever the program's threads do. It renews
each third of the lease's length, and tries again soon where the name server does not answer. Where the lease is
over all the same, as this process was stopped or the name server has lost its memory, it opens a new one and
registers all names again; one that somebody else has taken meanwhile is tried for at each renewal.

It begins with the first name, and ends with the last one or with the process, which closes the lease.
"""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gpyro import hub
from gpyro.errors import NamingError, ProtocolError, PyroError
from gpyro.log import Log
from gpyro.names import ROOT, Reason, split_name

if TYPE_CHECKING:
    from gpyro._naming.client import NameServerProxy

__all__ = ["WAIT_SECONDS", "LeaseKeeper", "remove_address"]

#: Of its own, so that a program that seeds `random` gets the numbers that it expects.
_dice = random.SystemRandom()

#: Renewals within the length of a lease: one may be lost, and there is time for another one.
RENEWALS = 3
#: Seconds that one call of the thread may take, at least and at most; between them a third of the length.
MIN_CALL_SECONDS, MAX_CALL_SECONDS = 1.0, 10.0
#: Seconds until the first new try, doubled up to the longest, which is also a sixth of the lease at most.
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.1, 5.0
#: Seconds between two looks whether the name server has closed the connection, as it does when it is restarted.
LOOK_SECONDS = 1.0
#: Seconds between two looks whether another greenlet or thread has opened the lease, or the thread has ended.
WAIT_SECONDS = 0.005
#: Times that a name is registered although the lease was over meanwhile.
HOLD_TRIES = 3

#: A full name, and an address under it as text.
Held = tuple[str, str]


class LeaseKeeper:
    """Keeps all names that this process has with one name server, under one identification.

    Args:
        ns: a proxy of that name server; it is copied.
        seconds: the length of the lease.

    Resources: the thread and its connection end when nothing is held any more, and with the process.
    Errors: those of `hold` are raised; those of the thread are logged, and what failed is tried again.
    """

    def __init__(self, ns: NameServerProxy, seconds: float) -> None:
        self._ns = copy.copy(ns)
        self._seconds = seconds
        #: Held for a few lines that never wait.
        self._lock = hub.NativeLock()
        #: What is held, and whether it stands beside others.
        self._held: dict[Held, bool] = {}
        #: What is held and not registered under the present lease, as far as is known.
        self._missing: dict[Held, None] = {}
        #: What was let go of and may be registered still, as its removal failed.
        self._leaving: dict[Held, None] = {}
        #: Names whose loss has been logged.
        self._told: set[Held] = set()
        self._lease: str | None = None
        self._is_opening = False
        #: Greenlets that are registering a name.
        self._users = 0
        self._is_running = self._is_ending = False
        self._renew_at = 0.0
        self._failures = 0
        self._signal = hub.Signal()
        self._state: hub.HubState | None = None
        self._worker: Any = None

    def __repr__(self) -> str:
        state = (
            "ended" if self._is_ending
            else f"no answer {self._failures} times" if self._failures
            else "lease held" if self._lease is not None
            else "no lease"
        )  # fmt: skip
        missing = f", {len(self._missing)} missing" if self._missing else ""
        return f"<LeaseKeeper at {self._ns.URI}: {len(self._held)} names{missing}, {state}>"

    # -- from any thread or greenlet -------------------------------------------------------------------------

    def claim(self) -> bool:
        """Announce a `hold`, so that the lease stays open until then; False where no names are taken any more."""
        with self._lock:
            if self._is_ending:
                return False
            self._users += 1
            return True

    def hold(self, ns: NameServerProxy, name: str, uri: str, *, member: bool, replace: bool) -> None:
        """Register an address under a full name, and keep it there; each follows a `claim`.

        Raises:
            Whatever `NameServerProxy.register` does.
        """
        try:
            for attempt in range(HOLD_TRIES):
                lease = self._lease_of(ns)
                try:
                    ns.register(name, uri, member=member, replace=replace, lease=lease)
                    break
                except NamingError as exc:
                    if exc.reason != Reason.LEASE_OVER or attempt == HOLD_TRIES - 1:
                        raise
                    self._lose(lease)
            with self._lock:
                self._held[name, uri] = member
                self._leaving.pop((name, uri), None)
        finally:
            with self._lock:
                self._users -= 1
            self._go_on()

    def let_go(self, ns: NameServerProxy, name: str, uri: str) -> bool:
        """Remove an address that is held; tell whether it was.

        Raises:
            PyroError: the name server does not answer; the address goes when it does, or with the lease.
        """
        key = (name, uri)
        with self._lock:
            if self._held.pop(key, None) is None:
                return False
            self._drop(key)
            if self._is_ending:
                # The lease has been closed, and everything went with it.
                return True
        try:
            remove_address(ns, key)
        except BaseException:
            with self._lock:
                if key not in self._held:
                    self._leaving[key] = None
            raise
        finally:
            self._go_on()
        return True

    def forget(self, concerns: Callable[[str, str], bool]) -> None:
        """Hold addresses no longer that were removed, or are registered for good now."""
        with self._lock:
            gone = [key for key in self._held if concerns(*key)]
            for key in gone:
                del self._held[key]
                self._drop(key)
        if gone:
            self._go_on()

    def _drop(self, key: Held) -> None:
        self._missing.pop(key, None)
        self._told.discard(key)

    def _lease_of(self, ns: NameServerProxy) -> str:
        """Return the lease's id; opened, by one of many who want it, where there is none."""
        while True:
            with self._lock:
                if self._lease is not None:
                    return self._lease
                if not self._is_opening:
                    self._is_opening = True
                    break
            hub.sleep(WAIT_SECONDS)
        try:
            lease = ns.open_lease(self._seconds)
            # The server that gave the lease may be away before the thread's own proxy has asked it for anything.
            self._ns._know_twin(ns._addresses()[1])
            with self._lock:
                self._lease = lease
                self._missing = dict.fromkeys(self._held)
                # The first renewal tells the name server which connection is the holder's.
                self._renew_at = 0.0
            return lease
        finally:
            self._is_opening = False

    def _lose(self, lease: str) -> None:
        with self._lock:
            if self._lease == lease:
                self._lease = None
                self._renew_at = 0.0

    def _go_on(self) -> None:
        """Let the thread look at what has changed; begin it where it does not run."""
        with self._lock:
            begins = not self._is_running and not self._is_ending
            if begins:
                self._is_running = True
            state = self._state
        if begins:
            hub.start_native_thread(self._run)
        elif state is not None:
            hub.run_in_hub_of(state, self._signal.set)

    # -- the end of the process ------------------------------------------------------------------------------

    def begin_to_end(self) -> None:
        """Let the thread close the lease and end, what it waits for notwithstanding."""
        with self._lock:
            self._is_ending = True
            state, unheard = self._state, self._failures > 0
        if state is not None:
            hub.run_in_hub_of(state, self._interrupt if unheard else self._signal.set)

    def interrupt(self) -> None:
        """End the thread whatever it is doing."""
        state = self._state
        if state is not None:
            hub.run_in_hub_of(state, self._interrupt)

    def _interrupt(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.throw(hub.GreenletExit)

    def has_ended(self) -> bool:
        """Tell whether there is no thread."""
        return not self._is_running

    def is_idle(self) -> bool:
        """Tell whether it has nothing to do, and nobody is about to give it something."""
        with self._lock:
            return not (self._is_running or self._is_ending or self._held or self._users)

    # -- the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        state = hub.current_state()
        # This hub always runs, so the name server may ask for signs of life.
        state.loops_by_itself += 1
        proxy = copy.copy(self._ns)
        proxy._setTimeout(min(max(self._seconds / RENEWALS, MIN_CALL_SECONDS), MAX_CALL_SECONDS))
        with self._lock:
            self._state, self._worker = state, hub.getcurrent()
        try:
            while self._step(proxy):
                pass
        except hub.GreenletExit:
            pass
        finally:
            self._worker = None
            proxy._release()
            with self._lock:
                self._state = None
            state.end()
            with self._lock:
                # Last: the process may end now. Names may have come since this thread decided to end.
                self._is_running = False
                goes_on = bool(self._held or self._users) and not self._is_ending
            if goes_on:
                self._go_on()

    def _step(self, proxy: NameServerProxy) -> bool:
        """Do what is due, or wait for something to do; False ends the thread."""
        with self._lock:
            idle = self._is_ending or not (self._held or self._users)
            lease = self._lease
            if idle:
                self._lease = None
        if idle:
            _close(proxy, lease)
            return False
        left = self._renew_at - time.monotonic()
        if left > 0 and (self._failures or proxy.__dict__["_core"].is_connected()):
            hub.wait_for(self._signal, (), min(left, LOOK_SECONDS))
            return True
        try:
            self._renew(proxy)
        except Exception as exc:
            # Whatever it was, names that nobody renews would be lost, and it may be better next time.
            self._note_failure(proxy, exc)
        return True

    def _renew(self, proxy: NameServerProxy) -> None:
        began = time.monotonic()
        before = self._expected()
        lease = self._lease_of(proxy)
        try:
            proxy._know_twin(self._ns._addresses()[1])
            count = proxy.renew_lease(lease)
        except NamingError as exc:
            if exc.reason != Reason.LEASE_OVER:
                raise
            count = len(self._held)
            Log.warn("LeaseKeeper", f"the lease with {proxy.URI} is over; registering {count} names again")
            self._lose(lease)
            # Not at once: should the next one be over just as soon, nobody is kept busy with it.
            self._renew_at = began + FIRST_RETRY_SECONDS
            return
        self._renew_at = began + self._seconds / RENEWALS
        if count < len(before & self._expected()):
            with self._lock:
                self._missing = dict.fromkeys(self._held)
        self._restore(proxy, lease)
        if self._failures:
            Log.msg("LeaseKeeper", f"{proxy.URI} answers again")
        self._failures = 0

    def _expected(self) -> set[str]:
        """Return the names that should hang on the lease."""
        with self._lock:
            return {name for name, _ in self._held.keys() - self._missing.keys()}

    def _note_failure(self, proxy: NameServerProxy, exc: Exception) -> None:
        if not self._failures:
            # With none it is about to end; where the name server ends first, nobody has lost anything.
            tell = Log.warn if self._held else Log.msg
            tell("LeaseKeeper", f"{proxy.URI} does not renew the lease of {len(self._held)} names: {exc}")
        longest = min(LONGEST_RETRY_SECONDS, self._seconds / RENEWALS / 2)
        seconds = min(FIRST_RETRY_SECONDS * 2 ** min(self._failures, 16), longest)
        self._failures += 1
        self._renew_at = time.monotonic() + seconds * _dice.uniform(0.5, 1.0)
        # Whatever was wrong with this connection, the next one may not have it.
        proxy._release()

    # -- names that are not where they should be -------------------------------------------------------------

    def _restore(self, proxy: NameServerProxy, lease: str) -> None:
        """Register what is missing, and remove what was let go of, as far as there is time before a renewal."""
        for key in [*self._leaving]:
            if time.monotonic() >= self._renew_at:
                return
            try:
                remove_address(proxy, key)
            except ProtocolError:
                raise
            except PyroError as exc:
                Log.warn("LeaseKeeper", f"could not unregister {key[0]!r}: {exc}")
            with self._lock:
                self._leaving.pop(key, None)
                if key in self._held:
                    # It is held again since.
                    self._missing[key] = None
        for key in [*self._missing]:
            if time.monotonic() >= self._renew_at or self._lease != lease or self._is_ending:
                return
            with self._lock:
                member = self._held.get(key)
            if member is not None:
                self._restore_one(proxy, key, member, lease)

    def _restore_one(self, proxy: NameServerProxy, key: Held, member: bool, lease: str) -> None:
        name, uri = key
        try:
            try:
                proxy.register(name, uri, member=member, lease=lease)
            except NamingError as exc:
                if exc.reason != Reason.PARENT_NOT_FOUND:
                    raise
                _make_groups(proxy, split_name(name)[0])
                proxy.register(name, uri, member=member, lease=lease)
        except ProtocolError:
            raise
        except PyroError as exc:
            if isinstance(exc, NamingError) and exc.reason == Reason.LEASE_OVER:
                self._lose(lease)
            else:
                self._tell_lost(proxy, key, exc)
            return
        with self._lock:
            self._missing.pop(key, None)
            still_held = key in self._held
            if not still_held:
                # It was let go of while it was on its way.
                self._leaving[key] = None
        if key in self._told:
            self._told.discard(key)
            Log.msg("LeaseKeeper", f"{name!r} stands for {uri} again")

    def _tell_lost(self, proxy: NameServerProxy, key: Held, exc: PyroError) -> None:
        if key in self._told:
            return
        self._told.add(key)
        holder = str(exc)
        if isinstance(exc, NamingError) and exc.reason == Reason.NAME_EXISTS:
            try:
                holder = f"it stands for {proxy.resolve(key[0])} now"
            except NamingError:
                holder = "it is free again by now"
        Log.error("LeaseKeeper", f"{key[0]!r} is lost for {key[1]}: {holder}; trying again at each renewal")


def remove_address(proxy: NameServerProxy, key: Held) -> None:
    """Remove an address; nothing happens where it is not there."""
    try:
        proxy.unregister(*key)
    except NamingError as exc:
        if exc.reason != Reason.NAME_NOT_FOUND:
            raise


def _make_groups(proxy: NameServerProxy, group: str) -> None:
    """Make a group and those above it; a name server that has lost its memory has lost them too."""
    missing = []
    while group != ROOT:
        missing.append(group)
        group = split_name(group)[0]
    for group in reversed(missing):
        try:
            proxy.createGroup(group)
        except NamingError as exc:
            if exc.reason != Reason.GROUP_EXISTS:
                raise


def _close(proxy: NameServerProxy, lease: str | None) -> None:
    if lease is not None:
        try:
            proxy.close_lease(lease)
        except PyroError as exc:
            # It ends by itself.
            Log.msg("LeaseKeeper", f"a lease with {proxy.URI} could not be closed: {exc}")
