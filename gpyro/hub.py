"""The one door to gevent, sockets, threads and the loop; what lies behind it is in `_hub/`.

Upper rooms import from here only. `state` is one hub's share, `stream` one socket, `tls` what is wanted of TLS,
`listener` the accept loop, `memory` what large values are read into, `udp` datagrams, `waiting` how greenlets
wait, `tickets` how they wait for other threads, `bridge` what a foreign loop selects on, `offload` the thread
pools, `watchdog` who holds the hub, `process` signals and the end of the process, `patching` and `stdin` what
programs of Pyro 3 ask for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gevent import GreenletExit, Timeout, getcurrent
from gevent._hub_local import get_hub_if_exists

from gpyro._hub.memory import make_part
from gpyro._hub.process import Signals, at_exit, flush_at_exit, pass_on_interrupt
from gpyro._hub.sockets import (
    connect,
    file_number,
    is_loopback,
    listen_tcp,
    listen_unix,
    name_of_host,
    peer_host,
    peer_uid,
    resolve,
    turn_to_open,
    unlink_unix,
)
from gpyro._hub.state import (
    HubState,
    Timer,
    current_state,
    fork_epoch,
    is_current,
    run_in_hub_of,
    run_soon_or_now,
    spawn_in,
)
from gpyro._hub.stream import Stream
from gpyro._hub.threads import NativeLock, call_in_hub, join_thread, start_native_thread, thread_name
from gpyro._hub.tickets import Bell, Ticket, Turns
from gpyro._hub.tls import TLSConfig, TlsError, accept_tls
from gpyro._hub.waiting import Pacer, Signal, is_hub_greenlet, pause, run_pending, sleep, wait_for

if TYPE_CHECKING:
    from gpyro._hub.bridge import Bridge
    from gpyro._hub.listener import Listener
    from gpyro._hub.offload import OffloadPool, compute
    from gpyro._hub.udp import MAX_DATAGRAM_BYTES, Datagram, UdpEndpoint, ask_udp, resolve_ipv4, serve_udp
    from gpyro._hub.watchdog import Watchdog

__all__ = [
    "MAX_DATAGRAM_BYTES",
    "Bell",
    "Bridge",
    "Datagram",
    "GreenletExit",
    "HubState",
    "Listener",
    "NativeLock",
    "OffloadPool",
    "Pacer",
    "Signal",
    "Signals",
    "Stream",
    "TLSConfig",
    "Ticket",
    "Timeout",
    "Timer",
    "TlsError",
    "Turns",
    "UdpEndpoint",
    "Watchdog",
    "accept_tls",
    "ask_udp",
    "at_exit",
    "call_in_hub",
    "compute",
    "connect",
    "current_state",
    "file_number",
    "flush_at_exit",
    "fork_epoch",
    "get_hub_if_exists",
    "getcurrent",
    "is_current",
    "is_hub_greenlet",
    "is_loopback",
    "join_thread",
    "listen_tcp",
    "listen_unix",
    "make_part",
    "name_of_host",
    "pass_on_interrupt",
    "pause",
    "peer_host",
    "peer_uid",
    "resolve",
    "resolve_ipv4",
    "run_in_hub_of",
    "run_pending",
    "run_soon_or_now",
    "serve_udp",
    "sleep",
    "spawn_in",
    "start_native_thread",
    "thread_name",
    "turn_to_open",
    "unlink_unix",
    "wait_for",
]

#: What servers use, and few clients: loaded when it is first asked for, so programs that only call start faster.
_LATER = {
    "bridge": ("Bridge",),
    "listener": ("Listener",),
    "offload": ("OffloadPool", "compute"),
    "udp": ("MAX_DATAGRAM_BYTES", "Datagram", "UdpEndpoint", "ask_udp", "resolve_ipv4", "serve_udp"),
    "watchdog": ("Watchdog",),
}
_WHERE = {name: module for module, names in _LATER.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'gpyro.hub' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"gpyro._hub.{_WHERE[name]}"), name)
    return value
