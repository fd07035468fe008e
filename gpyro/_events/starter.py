"""Runs an event server: its daemon, its name, its file, its beginning and its end."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gpyro._events.service import EVENTSERVER_NAME, EventService
from gpyro._naming.starting import Starter, make_groups
from gpyro.configuration import config
from gpyro.errors import (
    AccessDeniedError,
    ConnectionDeniedError,
    NamingError,
    PyroError,
    TimeoutError,
)
from gpyro.naming import NameServerProxy, find_name_server
from gpyro.objects import DAEMON_ID
from gpyro.proxy import Proxy
from gpyro.storage.eventmemory import EventMemory
from gpyro.uri import PyroURI, build_unix_address

if TYPE_CHECKING:
    from gpyro.storage.events import EventStorage
    from gpyro.storage.eventsqlite import EventSqlite

__all__ = ["EventServiceStarter"]

#: The group that the name stands in.
GROUPS = (":Pyro",)
#: The directory below the setting `storage`, beside Pyro_NS_database.
DIRECTORY = "Pyro_ES_database"
FILE = "events.sqlite"


class EventServiceStarter(Starter):
    """Starts an event server in this process, and prints what Pyro's prints.

    `start` runs it until it is ended; `initialize` only gets it ready, for a program with a loop of its own
    (`getServerSockets`, `handleRequests`).

    Args:
        identification: what clients have to prove themselves with, and what it proves itself with to a name server
            that wants that: a passphrase, a key, or for clients alone a list of identifications as
            `Daemon.setAllowedIdentifications` takes it; None lets everybody in.

    Resources: `shutdown`, SIGTERM and ctrl-C end it; its name and its file go with it.
    Errors: a file that cannot be written is told and passed over.

    Source: Pyro 3 manual, chapter 6, "Starting the Event Service".
    """

    title = "Event Server"

    def __init__(self, identification: object = None) -> None:
        super().__init__(identification)
        self.es: EventService | None = None

    # -- the beginning ---------------------------------------------------------------------------------------

    def initialize(
        self, hostname: str = "", port: int | None = None, useNameServer: bool | int = 1, norange: bool | int = 0,
        *, insecure_no_auth: bool = False, persistent: bool | int = 0, dbdir: str | None = None,
        anyway: bool | Callable[[], object] = False,
    ) -> None:  # fmt: skip
        """Get the event server ready; it answers as soon as its requests are handled.

        Args:
            hostname: the address to bind; by default the setting `host`, which is this machine only.
            port: the first port that is tried, the setting `port` by default; 0 is a free one.
            useNameServer: register with the name server, as ":Pyro.EventService".
            norange: this port or none.
            insecure_no_auth: listen beyond this machine although anybody there may publish and subscribe.
            persistent: keep events and reliable queues in a database, where the next event server finds them.
            dbdir: the directory of that database, relative to the setting `storage`; "Pyro_ES_database" there by
                default. One that is given means `persistent`.
            anyway: take the name although an event server is running under it; a function is asked then.

        Raises:
            NamingError: there is no name server, or an event server is registered there that is running.
            StorageError: the database is damaged, in use, or not one that can be used.
            DaemonError: it cannot listen there, or this starter has been used before.
        """
        self._check_unused()
        if self.identification is not None:
            print("Requiring connection authentication.")
        ns = self._find_name_server() if useNameServer else None
        if ns is not None:
            self._look_for_others(ns, anyway)
        database = _open_database(dbdir) if persistent or dbdir else None
        storage = self._storage = database or EventMemory(
            max_events=config.es_history, max_bytes=config.es_history_bytes
        )
        try:
            self._serve(storage, ns, hostname, port, bool(norange) or port == 0, insecure_no_auth)
        except BaseException:
            self._end()
            raise
        if database is not None:
            print(f"Persistent mode, database is in {os.path.dirname(database.path)}")
        print(f"URI= {self.uri}")
        self._write_file(config.es_urifile, "es_urifile")
        self._note_initialized()

    def _find_name_server(self) -> NameServerProxy:
        try:
            return find_name_server(self.identification)
        except NamingError as exc:
            raise NamingError(f"{exc}; or do without (-N, useNameServer=0)") from exc

    def _look_for_others(self, ns: NameServerProxy, anyway: bool | Callable[[], object]) -> None:
        """See that the name can be taken; the address of one that is running is removed where that is wanted.

        Raises:
            NamingError: one is running, and no other one is wanted.
        """
        try:
            uri: PyroURI = ns.resolve(EVENTSERVER_NAME)
        except NamingError:
            return
        if self._is_running(uri):
            print("The Event Server appears to be already running.")
            print("You cannot start multiple Event Servers.", flush=True)
            if not (anyway() if callable(anyway) else anyway):
                raise NamingError(
                    f"Event Server was not started: one is running already, {uri}; end it, or take its place "
                    "with --force (anyway=True), or start one without a name with -N"
                )
        try:
            ns.unregister(EVENTSERVER_NAME, uri)
        except NamingError:
            # It went meanwhile.
            pass

    def _is_running(self, uri: PyroURI) -> bool:
        """Ask the daemon there whether it has an event server; one that does not let us ask may."""
        host = build_unix_address(uri.unix_path) if uri.unix_path else uri.address
        proxy = Proxy(PyroURI(host, DAEMON_ID, uri.port, uri.protocol))
        proxy._setTimeout(config.connect_timeout_seconds)
        try:
            if not isinstance(self.identification, (list, tuple)):
                proxy._setIdentification(self.identification)
            proxy.resolve(EVENTSERVER_NAME)
        except (ConnectionDeniedError, AccessDeniedError, TimeoutError):
            return True
        except PyroError:
            return False
        finally:
            proxy._release()
        return True

    def _serve(
        self, storage: EventStorage, ns: NameServerProxy | None, hostname: str, port: int | None, norange: bool,
        insecure_no_auth: bool,
    ) -> None:  # fmt: skip
        """Put the service on a daemon, under its name."""
        daemon = self._open_daemon(hostname, port, norange, insecure_no_auth, "perhaps by another event server")
        # A list is what clients may come with; nobody knows of what an event server could come to them with.
        own = None if isinstance(self.identification, (list, tuple)) else self.identification
        self.es = EventService(storage, identification=own)
        # Always the same id: clients that know where it is find it after a restart.
        self.es.setGUID(EVENTSERVER_NAME)
        if ns is not None:
            make_groups(ns, GROUPS)
            daemon.useNameServer(ns)
        self.uri = daemon.connect(self.es, None if ns is None else EVENTSERVER_NAME)

    # -- the end ---------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether it has not been ended; to set it to false ends it. Source: Pyro's attribute."""
        return not self._ending

    @running.setter
    def running(self, goes_on: Any) -> None:
        if not goes_on:
            self._shut_down()

    def shutdown(self, es: object = None) -> None:
        """End the event server; safe from any thread. `es` is accepted as in Pyro and not needed."""
        self._shut_down()


def _open_database(dbdir: str | None) -> EventSqlite:
    """Open the database in a directory, which may be relative to the setting `storage`; who opens it closes it.

    Raises:
        StorageError: it is damaged, in use, or not one that can be used.
    """
    from gpyro.storage.eventsqlite import EventSqlite  # 5 ms, and most servers do not need it

    path = os.path.join(config.storage, os.path.expanduser(dbdir or DIRECTORY), FILE)
    return EventSqlite(path, max_events=config.es_history, max_bytes=config.es_history_bytes)
