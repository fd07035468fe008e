"""Runs a name server: its daemon, its file, its beginning and its end."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gpyro import hub
from gpyro._naming.announcing import Announcement, look_for_others, open_broadcast_server
from gpyro._naming.broadcast import BroadcastServer
from gpyro._naming.joining import PairedServer, Role, default_port
from gpyro._naming.pairing import SECONDARY
from gpyro._naming.persistent import open_database
from gpyro._naming.plugins import check_guards, describe_guards
from gpyro._naming.rights import GroupRights, Rights, make_rights
from gpyro._naming.server import NAMESERVER_NAME, NameServer
from gpyro._naming.urifile import UriFile
from gpyro.configuration import config
from gpyro.daemon import Daemon
from gpyro.errors import DaemonError, NamingError, StorageError
from gpyro.storage.memory import MemoryStorage
from gpyro.uri import PyroURI

if TYPE_CHECKING:
    from gpyro.auth import DefaultConnValidator
    from gpyro.storage.sqlite import SqliteStorage

__all__ = ["NameServerStarter", "as_identifications"]

#: How often `waitUntilStarted` looks. It may be called from another thread than the one that starts, or from a
#: greenlet of the same one; looking now and then is what serves both.
LOOK_SECONDS = 0.01


class NameServerStarter:
    """Starts a name server in this process, and prints what Pyro's prints.

    `start` runs it until it is ended; `initialize` only gets it ready, for a program with a loop of its own
    (`getServerSockets`, `handleRequests`).

    Args:
        identification: what callers have to prove themselves with: a passphrase, a key, or a list of
            identifications as `Daemon.setAllowedIdentifications` takes it; None lets everybody in.

    Resources: `shutdown`, SIGTERM, ctrl-C or a caller's `shutdown` end it; its names and its file go with it.
    Errors: a file that cannot be written is told and passed over.

    Source: Pyro 3 manual, chapter 5, "Starting the NS".
    """

    def __init__(self, identification: object = None) -> None:
        self.identification = identification
        self.daemon: Daemon | None = None
        self.ns: NameServer | None = None
        self.uri: PyroURI | None = None
        self.bcserver: BroadcastServer | None = None
        self.paired: PairedServer | None = None
        self._storage: SqliteStorage | None = None
        self._file: UriFile | None = None
        self._started = False
        self._looping = False
        self._ending = False
        self._failure: BaseException | None = None

    def __repr__(self) -> str:
        state = "not started" if self.uri is None else f"ended, was {self.uri}" if self._ending else str(self.uri)
        return f"<NameServerStarter {state}>"

    # -- the beginning ---------------------------------------------------------------------------------------

    def start(self, hostname: str | None = None, port: int | None = None, **options: Any) -> None:
        """Run a name server until it is ended; the arguments are those of `initialize`.

        Raises:
            NamingError: one is running there already.
            DaemonError: it cannot listen there.
        """
        try:
            self.initialize(hostname, port, **options)
            assert self.daemon is not None
            self._looping = True
            # The loop asks its condition before it first waits, with its signal handlers in place.
            self.daemon.requestLoop(self._note_started, timeout=None)
            if not self._ending:
                print("Shutting down on a signal.")
        except BaseException as exc:
            self._failure = exc
            raise
        finally:
            self._looping = False
            self._end()
        print("Name Server gracefully stopped.", flush=True)

    def _note_started(self) -> bool:
        if not self._started:
            self._answer_broadcasts()
            print(f"{'' if self.paired is None else f'{self.paired.title} '}Name Server started.", flush=True)
            self._started = True
            if self.ns is not None:
                # A storage may have leases from before.
                self.ns._leases.watch()
        return True

    def _answer_broadcasts(self) -> None:
        """Begin to, in the thread that serves callers too."""
        if self.bcserver is not None:
            self.bcserver.start()

    def initialize(
        self, hostname: str | None = None, port: int | None = None, *, keep: bool | int = False,
        dontlookupother: bool | int = False, verbose: bool | int = False, insecure_no_auth: bool = False,
        rights: Rights | Mapping[str, GroupRights] | None = None, persistent: bool | int = 0,
        dbdir: str | None = None, bcport: int | None = None, bcaddr: str | None = None,
        nobroadcast: bool | int = False, allowmultiple: bool | int = False, Guards: Any = (None, None),
        role: Role | None = None, pair_identification: object = None,
    ) -> None:  # fmt: skip
        """Get the name server ready; it answers as soon as its requests are handled.

        Args:
            hostname: the address to bind; by default the setting `host`, which is this machine only.
            port: the setting `ns_port` by default; 0 is a free one of the system's choice.
            keep: refuse callers' `shutdown`.
            dontlookupother: do not look whether a name server is running already.
            verbose: tell more.
            insecure_no_auth: listen beyond this machine although anybody there may change names.
            rights: who may do what in which groups, see `NameServer`; None lets everybody do everything.
            persistent: keep names in a database, where the next name server finds them.
            dbdir: the directory of that database, relative to the setting `storage`; "Pyro_NS_database" there by
                default. One that is given means `persistent`.
            bcport: UDP port on which it hears broadcasts, the setting `ns_bc_port` by default; 0 is a free one.
            bcaddr: address on which it hears them, by default every one. A name server that only this machine
                reaches hears them only where one of these two is given, and then on loopback.
            nobroadcast: do not hear broadcasts.
            allowmultiple: start though others are running, with a warning.
            Guards: a pair of a `DefaultConnValidator` and a `BCReqValidator`, who decide about connections and
                broadcasts; None for the usual. `load_guards` makes it of a plugin.
            role: be one of a pair, see `joining.Role`; None is no pair.
            pair_identification: what to prove ourselves with to the other one; by default `identification`.

        Raises:
            ConfigurationError: the rights or guards cannot be any.
            StorageError: the database is damaged, in use, or not one that can be used.
            NamingError: a name server is running there, or on this network, already.
            DaemonError: it cannot listen there, or this starter has been used before.
        """
        if self.daemon is not None:
            raise DaemonError(f"this starter has been used before, for {self.uri}; make a new one")
        port = default_port(role) if port is None else port
        checked = make_rights(rights)
        guards = check_guards(Guards)
        announcement = Announcement(
            hostname or config.host, bcport, bcaddr, off=bool(nobroadcast), shared=bool(allowmultiple)
        )
        if not dontlookupother and role is None:
            look_for_others(hostname, port, announcement)
        if persistent or dbdir:
            self._storage = open_database(dbdir)
        try:
            self.daemon = _make_daemon(
                hostname or "", port, insecure_no_auth, as_identifications(self.identification),
                guards.connections,
            )  # fmt: skip
            self._serve(bool(keep), checked, role, pair_identification)
            assert self.uri is not None
            self.bcserver = open_broadcast_server(self.uri, announcement, guards.broadcasts)
        except BaseException:
            self._end()
            raise
        if checked is not None and checked.names_somebody() and self.identification is None:
            print(
                "WARNING: the rights name callers, but nobody has to identify himself "
                "(-i, --identification-file), so nobody has them"
            )
        self._tell(bool(keep), bool(verbose), bool(nobroadcast))
        for line in describe_guards(guards):
            print(line)
        print(f"URI is: {self.uri}")
        self._write_file()
        if self._storage is not None:
            print(f"Persistent mode, database is in {os.path.dirname(self._storage.path)}")

    def _serve(self, keep: bool, rights: Rights | None, role: Role | None, identification: object) -> None:
        """Put the name server on its daemon, under its own name, alone or as one of a pair."""
        assert self.daemon is not None
        storage = self._storage or MemoryStorage(created=time.time())
        self.ns = NameServer(storage, keep_running=keep, on_shutdown=self._on_remote_shutdown, rights=rights)
        if role is None:
            self.daemon.useNameServer(self.ns)
            # In a database there may be the one of the run before, on another port; this takes its place.
            self.uri = self.daemon.connectPersistent(self.ns, NAMESERVER_NAME)
            return
        if identification is None and not isinstance(self.identification, (list, tuple)):
            identification = self.identification
        self.paired = PairedServer(self.daemon, self.ns, storage, role, identification)
        self.uri = self.paired.uri
        self.paired.start()

    def _tell(self, keep: bool, verbose: bool, nobroadcast: bool) -> None:
        assert self.daemon is not None
        if nobroadcast:
            print("Not starting broadcast server.")
        if self.identification is not None:
            print("Requiring connection authentication.")
        if verbose or keep:
            print("Will ignore shutdown requests." if keep else "Will accept shutdown requests.")
        if not self.uri or self.uri.is_unix:
            print(f"Name server listening on: {self.daemon.hostname}")
        else:
            print(f"Name server listening on: {self.daemon.hostname} port {self.daemon.port}")
        if self.bcserver is not None:
            print(f"Broadcast server listening on: {self.bcserver.host} port {self.bcserver.port}")

    def _write_file(self) -> None:
        assert self.uri is not None
        is_second = self.paired is not None and self.paired.pair.role == SECONDARY
        # Both may run on one machine, for one user.
        self._file = UriFile(config.ns_urifile + ("2" if is_second else ""), self.uri)
        try:
            self._file.write()
            print(f"URI written to: {self._file.path}")
        except OSError as exc:
            print(f"WARNING: the URI could not be written to {self._file.path}: {exc.strerror} (ns_urifile)")

    def waitUntilStarted(self, timeout: float | None = None) -> bool:
        """Wait until `start`, which runs in another thread or greenlet, serves callers.

        Returns:
            True; False when that took longer than `timeout` seconds.

        Raises:
            NamingError: it could not start.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while not self._started:
            if self._failure is not None:
                raise NamingError(f"the name server could not start: {self._failure}") from self._failure
            if until is not None and time.monotonic() >= until:
                return False
            hub.sleep(LOOK_SECONDS)
        return True

    # -- a loop of the program's own -------------------------------------------------------------------------

    def getServerSockets(self) -> list[Any]:
        """Return what a foreign loop selects on for reading; see `Daemon.getServerSockets`."""
        if self.daemon is None or self._ending:
            return []
        self._answer_broadcasts()
        return self.daemon.getServerSockets()

    def handleRequests(self, timeout: float | None = None) -> None:
        """Serve what is pending; see `Daemon.handleRequests`.

        Raises:
            DaemonError: `initialize` has not been called.
        """
        if self.daemon is None:
            raise DaemonError("there is no name server yet; call initialize() first")
        if not self._ending:
            self._note_started()
            self.daemon.handleRequests(timeout)
        if self._ending:
            self._end()

    # -- the end ---------------------------------------------------------------------------------------------

    def shutdown(self, ns: object = None) -> None:
        """End the name server; safe from any thread. `ns` is accepted as in Pyro and not needed."""
        self._ending = True
        if self.daemon is not None:
            self.daemon.shutdown()
        if not self._looping:
            self._end()

    def _on_remote_shutdown(self) -> None:
        self._ending = True
        assert self.daemon is not None
        self.daemon.shutdown()

    def _end(self) -> None:
        self._ending = True
        if self._file is not None:
            self._file.remove()
        if self.bcserver is not None:
            self.bcserver.close()
        if self.paired is not None:
            self.paired.leave()
        if self.daemon is not None:
            self.daemon.shutdown(True)
        if self._storage is not None:
            try:
                self._storage.close()
            except StorageError as exc:
                print(f"WARNING: {exc}")


def as_identifications(identification: object) -> list[object] | None:
    """Return what a daemon is to accept, of one identification, several, or none (None)."""
    if identification is None:
        return None
    return list(identification) if isinstance(identification, (list, tuple)) else [identification]


def _make_daemon(
    hostname: str, port: int, insecure_no_auth: bool, identifications: list[object] | None,
    validator: DefaultConnValidator | None,
) -> Daemon:  # fmt: skip
    try:
        return Daemon(
            host=hostname, port=port, norange=True, insecure_no_auth=insecure_no_auth,
            identifications=identifications, validator=validator,
        )  # fmt: skip
    except DaemonError as exc:
        if getattr(exc.__cause__, "errno", None) == errno.EADDRINUSE:
            raise DaemonError(
                f"Name Server was not started: port {port} of {hostname or 'localhost'} is in use, perhaps by "
                "another name server (`gpyro nsc ping` tells); choose another port with -p"
            ) from exc
        raise
