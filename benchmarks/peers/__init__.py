"""The peers by name; their modules are imported in the worker processes only.

Each module has `build(name) -> Peer`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """Where a peer is, and the two programs that the startup work times.

    Attributes:
        patched_for: families of works whose client runs under gevent.monkey.patch_all(),
            because that is the best this peer can do there.
        import_program: what a program that uses it imports.
        call_program: the rest up to the first call; `{address}` is filled in.
    """

    module: str
    patched_for: frozenset[str] = frozenset()
    import_program: str = ""
    call_program: str = ""


TOGETHER = frozenset({"greenlets", "connections"})

_PYRO5_CALL = "Pyro5.api.config.SERIALIZER = 'marshal'; Pyro5.api.Proxy({address!r}).echo('hello')"
_PYRO4_CALL = "Pyro4.config.SERIALIZER = 'pickle'; Pyro4.Proxy({address!r}).echo('hello')"
_RPYC_CALL = "h, p = {address!r}.split(':'); c = rpyc.connect(h, int(p)); c.root.echo('hello'); c.close()"
_LISTENER_CALL = "h, p = {address!r}.split(':'); c = m.Client((h, int(p))); c.send('hello'); c.recv(); c.close()"

PEERS: dict[str, Entry] = {
    "gpyro": Entry(
        "benchmarks.peers.gpyro",
        import_program="import gpyro",
        call_program="gpyro.Proxy({address!r}).echo('hello')",
    ),
    "gpyro-key": Entry("benchmarks.peers.gpyro"),
    "gpyro-tls": Entry("benchmarks.peers.gpyro"),
    "raw": Entry("benchmarks.peers.raw", import_program="import gevent"),
    "pyro5-marshal": Entry(
        "benchmarks.peers.pyro5", TOGETHER, import_program="import Pyro5.api", call_program=_PYRO5_CALL
    ),
    "pyro5-msgpack": Entry("benchmarks.peers.pyro5", TOGETHER),
    "pyro5-serpent": Entry("benchmarks.peers.pyro5", TOGETHER),
    "pyro5-multiplex": Entry("benchmarks.peers.pyro5", TOGETHER),
    "pyro4-pickle": Entry(
        "benchmarks.peers.pyro4", TOGETHER, import_program="import Pyro4", call_program=_PYRO4_CALL
    ),
    "rpyc": Entry("benchmarks.peers.rpyc", TOGETHER, import_program="import rpyc", call_program=_RPYC_CALL),
    "zerorpc": Entry(
        "benchmarks.peers.zerorpc",
        import_program="import zerorpc",
        call_program="zerorpc.Client({address!r}).echo('hello')",
    ),
    "grpcio": Entry("benchmarks.peers.grpcio", import_program="import grpc"),
    "grpcio-aio": Entry("benchmarks.peers.grpcio_aio", import_program="import grpc.aio"),
    "pycapnp": Entry("benchmarks.peers.pycapnp", import_program="import capnp"),
    "multiprocessing": Entry(
        "benchmarks.peers.multiprocessing_connection",
        import_program="import multiprocessing.connection as m",
        call_program=_LISTENER_CALL,
    ),
}
