"""Every public symbol of Pyro 3.16 is in `gpyro.pyro3`, called as before, or named here with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gpyro import pyro3
from tests.support.events import event_server
from tests.support.pyro3_api import fault_of, find, symbols
from tests.support.servers import Bench

MOBILE_CODE = "code does not travel; install it on both sides"
OBSOLETE = "Python 3 does not ask for that: it has __bool__ and __reduce__"
WIRE = "part of Pyro's wire or of its threads; programs use proxies and daemons"

#: Symbols that are not there, or not made by hand any more.
LEFT_OUT = {
    "Pyro.core.ObjBase.remote_supply_code": MOBILE_CODE,
    "Pyro.core.ObjBase.setCodeValidator": MOBILE_CODE,
    "Pyro.protocol.agent_import.__call__": MOBILE_CODE,
    "Pyro.protocol.agent_import.name": MOBILE_CODE,
    "Pyro.core.DynamicProxy.__nonzero__": OBSOLETE,
    "Pyro.ext.remote.DynamicProxy.__nonzero__": OBSOLETE,
    "Pyro.ext.remote.ObjBase.__nonzero__": OBSOLETE,
    "Pyro.core.Daemon.__getstate__": OBSOLETE,
    "Pyro.core.DynamicProxy.__getstate__": OBSOLETE,
    "Pyro.naming.NameServerProxy.__getstate__": OBSOLETE,
    "Pyro.protocol.PYROAdapter.__getstate__": OBSOLETE,
    "Pyro.protocol.PYROAdapter.__setstate__": OBSOLETE,
    "Pyro.errors._InternalNoModuleError.__getstate__": MOBILE_CODE,
    "Pyro.errors._InternalNoModuleError.__setstate__": MOBILE_CODE,
    "Pyro.errors.PyroExceptionCapsule": WIRE,
    "Pyro.errors.PyroExceptionCapsule.__str__": WIRE,
    "Pyro.errors.PyroExceptionCapsule.args": WIRE,
    "Pyro.errors.PyroExceptionCapsule.excObj": WIRE,
    "Pyro.EventService.Clients.Subscriber.daemon": "events come over its own connection, without a daemon",
    "Pyro.EventService.Server.Subscriber": "a thread for each subscriber; there are mailboxes in its place",
    "Pyro.configuration.ConfigReader": "Config.setup reads files and environment",
    "Pyro.configuration.ConfigReader.items": "Config.setup reads files and environment",
    "Pyro.core.Daemon.adapter": WIRE,
    "Pyro.core.ObjBase.lastUsed": "setTransientsCleanupAge counts what is unused without a clock in each call",
    "Pyro.core.PyroURI.init": "an address does not change; make another PyroURI",
    "Pyro.naming.BroadcastServer": "made by NameServerStarter; it has another constructor",
    "Pyro.naming.NameServer": "made by NameServerStarter; its constructor takes no role and no identification",
    "Pyro.naming.NameServer.identification": "the identification belongs to the daemon",
    "Pyro.naming.NameValue": "the tree of names has other nodes, which nobody sees",
    "Pyro.naming.NamedTree": "the tree of names has other nodes, which nobody sees",
    "Pyro.protocol.PYROAdapter": "made by a proxy",
    "Pyro.protocol.PYROAdapter.bindToURI": "make a proxy; rebindURI binds it anew",
    "Pyro.protocol.PYROAdapter.conn": WIRE,
    "Pyro.protocol.PYROAdapter.lock": "a proxy is shared without a lock",
    "Pyro.protocol.PYROSSLAdapter": "made by a proxy",
    "Pyro.protocol.PYROSSLAdapter.bindToURI": "make a proxy; rebindURI binds it anew",
    "Pyro.protocol.PYROSSLAdapter.conn": WIRE,
    "Pyro.protocol.TCPConnection": "made by a daemon",
    "Pyro.protocol.TCPConnection.shutdown": "close() says goodbye and ends it",
    "Pyro.protocol.TCPServer": "a name of Daemon; it has Daemon's constructor",
    "Pyro.protocol.TCPServer.localStorage": "getLocalStorage() returns the one of the running call's connection",
    "Pyro.protocol.TCPServer.sock": "getServerSockets() returns what can be selected on",
    "Pyro.test.echoserver.EchoServer.verbose": "an argument of its constructor, which callers cannot change",
    "Pyro.test.echoserver.NameServer": "NameServerStarter in a thread or greenlet",
}

#: Settings whose default is another one.
OTHER_DEFAULTS = {
    "Pyro.config.PYRO_STORAGE": "the user's state directory; anybody may own the current one",
    "Pyro.config.PYRO_LOGFILE": "$STORAGE is filled in",
    "Pyro.config.PYRO_USER_LOGFILE": "$STORAGE is filled in",
    "Pyro.config.PYRO_NS_URIFILE": "$STORAGE is filled in",
    "Pyro.config.PYROSSL_CERTDIR": "$STORAGE is filled in",
    "Pyro.config.PYROSSL_CERT": "PYROSSL_CERTDIR is put in front",
    "Pyro.config.PYROSSL_CA_CERT": "PYROSSL_CERTDIR is put in front",
    "Pyro.config.PYRO_MAXCONNECTIONS": "a connection costs no thread",
    "Pyro.config.PYRO_TCP_LISTEN_BACKLOG": "a burst of clients fits",
    "Pyro.config.PYRO_PICKLE_FORMAT": "nothing is pickled; shown as on Python 2",
}

#: Most symbols that may be left out.
MOST = 60


@pytest.fixture(scope="module")
def samples() -> Iterator[dict[Any, object]]:
    """An object of each class whose instances have attributes in the list, most of them in use."""
    naming, server = pyro3.naming, pyro3.EventService.Server
    with event_server() as events:
        running = events.running
        bench = Bench()
        proxy = running.proxy(bench)
        proxy.echo()
        subscriber = pyro3.EventService.Clients.Subscriber(esURI=events.uri)
        name_server = naming.NameServer()
        ns_proxy = naming.NameServerProxy(running.connect(name_server))
        yield {
            pyro3.EventService.Clients.Subscriber: subscriber,
            pyro3.EventService.Event.Event: pyro3.EventService.Event.Event("subject", "message"),
            server.EventServiceStarter: server.EventServiceStarter(),
            pyro3.core.Daemon: running.daemon,
            pyro3.core.DynamicProxy: proxy,
            pyro3.core.ObjBase: bench,
            pyro3.core.PyroURI: proxy.URI,
            naming.BCReqValidator: naming.BCReqValidator(),
            naming.NameServer: name_server,
            naming.NameServerLocator: naming.NameServerLocator(),
            naming.NameServerProxy: ns_proxy,
            naming.NameServerStarter: naming.NameServerStarter(),
            pyro3.protocol.LocalStorage: pyro3.protocol.LocalStorage(),
            pyro3.protocol.PYROAdapter: proxy.adapter,
            pyro3.protocol.TCPConnection: running.connections[0],
        }
        subscriber.close()
        subscriber.ES._release()
        ns_proxy._release()


def test_every_symbol_is_there_and_called_as_before_but_those_that_are_named(samples: dict[Any, object]) -> None:
    every = symbols()
    faults = {symbol.name: fault for symbol in every if (fault := fault_of(symbol, samples))}
    left_out = [name for name in faults if name not in OTHER_DEFAULTS]
    print(f"{len(every) - len(left_out)} of {len(every)} symbols are compatible, {len(left_out)} are left out")
    assert len(every) == 334
    assert {name: faults[name] for name in left_out if name not in LEFT_OUT} == {}
    assert len(left_out) <= MOST
    assert [name for name in (*LEFT_OUT, *OTHER_DEFAULTS) if name not in faults] == [], "they are there by now"


def test_a_symbol_that_is_missing_or_takes_other_arguments_is_noticed(samples: dict[Any, object]) -> None:
    symbol = symbols()[0]._replace
    faults = {
        "Pyro.core.Nothing": "class: class(object) __init__(self)",
        "Pyro.core.getProxyForURI": "(URI, timeout)",
        "Pyro.util.getPyroTraceback": "(exception)",
        "Pyro.constants.NAMESERVER_NAME": "const: = ':Pyro.Names'",
        "Pyro.util.Log": "object: instance of Pyro.core.Daemon",
        "Pyro.core.Daemon.colour": "attr: instance attribute",
        "Pyro.core": "(self)",
        "Pyro.util": "class: class(object) __init__(self)",
        "Pyro.core.Daemon": "module: module",
        "Pyro.config.PYRO_PORT": "config: default 1 (type int)",
    }
    assert [name for name, what in faults.items() if not fault_of(symbol(name=name, what=what), samples)] == []


def test_classes_are_those_of_gpyro_itself() -> None:
    import gpyro

    assert find("Pyro.core.Daemon") is gpyro.Daemon
    assert find("Pyro.core.DynamicProxyWithAttrs") is gpyro.AttrProxy
    assert find("Pyro.errors.NamingError") is gpyro.errors.NamingError
    assert find("Pyro.EventService.Clients.Subscriber") is gpyro.eventserver.Subscriber
    assert issubclass(find("Pyro.ext.remote.ObjBase"), gpyro.ObjBase)
