"""The built-in echo server: something to talk to while trying things out.

    $ gpyro echoserver -N
    >>> gpyro.getProxyForURI("PYRONAME://:Pyro.test.echoserver").echo("hello world")
    'hello world'

`python -m gpyro.echoserver` is `gpyro echoserver`.
Source: Pyro 3 manual, chapter 4, "Built-in echo server"; what it prints, transcript A9 of Pyro 3.16.
"""

from __future__ import annotations

import time
from typing import Any

from gpyro._naming.starting import as_identifications, make_groups
from gpyro.configuration import config
from gpyro.daemon import Daemon
from gpyro.naming import NameServerStarter, find_name_server
from gpyro.objects import ObjBase
from gpyro.util import escape_controls, run_command

__all__ = ["ECHOSERVER_NAME", "EchoServer", "serve"]

#: Source: Pyro.test.echoserver.
ECHOSERVER_NAME = ":Pyro.test.echoserver"
#: Groups that the name stands in; a name server that runs already may not have the second one.
GROUPS = (":Pyro", ":Pyro.test")


class EchoServer(ObjBase):
    """Returns what it is given, or fails.

    Args:
        verbose: print each call.
    """

    def __init__(self, verbose: bool = False) -> None:
        super().__init__()
        self._verbose = verbose

    def echo(self, args: Any) -> Any:
        """Return the argument."""
        self._tell(f"echo: {args}")
        return args

    def error(self) -> float:
        """Raise ZeroDivisionError."""
        self._tell("error: generating exception")
        return 1 // 0

    def _tell(self, text: str) -> None:
        if self._verbose:
            # What callers send must not steer the terminal.
            print(f"{time.asctime()} - {escape_controls(text)}", flush=True)


def serve(
    host: str | None = None, port: int | None = None, *, naming: bool = False, nameserver: bool = False,
    verbose: bool = False, insecure_no_auth: bool = False, identification: object = None,
) -> None:  # fmt: skip
    """Run the echo server until SIGTERM or ctrl-C.

    Args:
        host: the address to bind; by default this machine only.
        port: where to listen; by default the first free one of a daemon's range.
        naming: register with a name server that runs.
        nameserver: start a name server in this process and register with it.
        verbose: print each call.
        insecure_no_auth: listen beyond this machine although anybody may call.
        identification: what callers have to prove themselves with, those of the name server started here too: a
            passphrase, a key, or a list of identifications.

    Raises:
        NamingError: there is no name server, or a server of that name is registered there.
        DaemonError: it cannot listen.

    Resources: the name is gone from the name server when this returns.
    """
    starter = None
    if nameserver:
        starter = NameServerStarter(identification)
        starter.initialize(host, insecure_no_auth=insecure_no_auth)
    try:
        allowed = as_identifications(identification)
        with Daemon(
            host=host or "", port=port, insecure_no_auth=insecure_no_auth, identifications=allowed,
            config=config.snapshot(as_pyro3=False),
        ) as daemon:
            _serve_with(daemon, starter, naming, verbose, identification)
    finally:
        if starter is not None:
            starter.shutdown()
    print("echoserver stopped.", flush=True)


def _serve_with(
    daemon: Daemon, starter: NameServerStarter | None, naming: bool, verbose: bool, identification: object
) -> None:
    print("Starting gpyro's built-in test echo server.")
    if identification is not None:
        print("requiring connection authentication.")
    if starter is not None:
        daemon.useNameServer(starter.ns)
        print(f"using name server at {starter.uri}")
        starter.handleRequests(0)
    elif naming:
        ns = find_name_server(identification)
        daemon.useNameServer(ns)
        print(f"using name server at {ns.URI}")
    else:
        print("not using a name server.")
    server = EchoServer(verbose)
    if daemon.NameServer is not None:
        make_groups(daemon.NameServer, GROUPS)
    uri = daemon.connect(server, ECHOSERVER_NAME)
    print(f"object name = {ECHOSERVER_NAME}")
    print(f"echo uri = {uri}")
    if not uri.is_unix:
        print(f"echo uri = PYROLOC://{uri.address}:{uri.port}/{ECHOSERVER_NAME}")
    lines = ["echoserver running."]

    def note_running() -> bool:
        # Said from within the loop, when its signal handlers are in place.
        if lines:
            print(lines.pop(), flush=True)
        return True

    daemon.requestLoop(note_running, timeout=None)


if __name__ == "__main__":
    run_command("echoserver")
