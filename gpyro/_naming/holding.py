"""How this process holds names: one lease with each name server, under each identification, for all of them.

`keeping.LeaseKeeper` looks after one lease; here is who finds it, and ends it with the process: leases are closed
then, so that names go at once. A forked child has none of its parent's.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from gpyro import hub
from gpyro._naming.keeping import WAIT_SECONDS, LeaseKeeper, remove_address

if TYPE_CHECKING:
    from gpyro._naming.client import NameServerProxy

__all__ = ["forget", "forget_below", "hold", "let_go"]

#: Seconds that the end of the process waits for leases to be closed, and then for threads that were interrupted.
EXIT_SECONDS, INTERRUPT_SECONDS = 1.0, 0.5

Key = tuple[object, ...]

_lock = hub.NativeLock()
_keepers: dict[Key, LeaseKeeper] = {}
#: Those of the parent process, in a forked child: kept, so that nothing of them is ended here.
_of_parent: list[dict[Key, LeaseKeeper]] = []


def _key_of(ns: NameServerProxy) -> Key:
    """Return what tells apart whom a process can be to a name server; a keeper keeps alive what `id` is of."""
    core = ns.__dict__["_route"].home
    identification = core.identification
    if not isinstance(identification, (str, bytes)):
        identification = None if identification is None else id(identification)
    validator, tls = (None if part is None else id(part) for part in (core.validator, core.tls))
    return str(core.uri), identification, validator, tls


def hold(ns: NameServerProxy, name: str, uri: str, seconds: float, *, member: bool, replace: bool) -> None:
    """Register an address under a full name, under the one lease that this process has there.

    Args:
        seconds: the length of that lease, where it is not open yet.

    Raises:
        Whatever `NameServerProxy.register` does. ValueError: a lease cannot be that long.
    """
    key = _key_of(ns)
    with _lock:
        for other in [other for other, keeper in _keepers.items() if keeper.is_idle()]:
            del _keepers[other]
        keeper = _keepers.get(key)
        if keeper is None or not keeper.claim():
            keeper = _keepers[key] = LeaseKeeper(ns, seconds)
            keeper.claim()
    keeper.hold(ns, name, uri, member=member, replace=replace)


def let_go(ns: NameServerProxy, name: str, uri: str) -> None:
    """Remove an address that was held, or that is registered without a lease; harmless where it is gone."""
    keeper = _keepers.get(_key_of(ns))
    if keeper is None or not keeper.let_go(ns, name, uri):
        remove_address(ns, (name, uri))


def forget(ns: NameServerProxy, name: str, uri: str | None = None) -> None:
    """Hold a name no longer: it was removed, or is registered for good now; `uri` is only this address of it."""
    keeper = _keepers.get(_key_of(ns))
    if keeper is not None:
        keeper.forget(lambda held_name, held_uri: held_name == name and uri in (None, held_uri))


def forget_below(ns: NameServerProxy, group: str) -> None:
    """Hold nothing in a group any more: it was removed with all that is in it."""
    keeper = _keepers.get(_key_of(ns))
    if keeper is not None:
        keeper.forget(lambda name, uri: name.startswith(group + "."))


def _end_all() -> None:
    """At the end of the process: close the leases, so that names go at once; within a bounded time."""
    keepers = [keeper for keeper in list(_keepers.values()) if not keeper.has_ended()]
    for keeper in keepers:
        keeper.begin_to_end()
    if not _wait_for_ends(keepers, EXIT_SECONDS):
        for keeper in keepers:
            keeper.interrupt()
        _wait_for_ends(keepers, INTERRUPT_SECONDS)


def _wait_for_ends(keepers: list[LeaseKeeper], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not all(keeper.has_ended() for keeper in keepers):
        if time.monotonic() >= deadline:
            return False
        # With the hub running: the name server may be in this very thread.
        hub.sleep(WAIT_SECONDS)
    return True


def _forget_in_child() -> None:
    global _lock, _keepers
    _of_parent.append(_keepers)
    _lock, _keepers = hub.NativeLock(), {}
    hub.at_exit(_end_all)


hub.at_exit(_end_all)
os.register_at_fork(after_in_child=_forget_in_child)
