"""Runs a name server: its daemon, its file, its beginning and its end."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gpyro import hub
from gpyro._naming.client import NameServerLocator
from gpyro._naming.joining import PairedServer, Role, default_port
from gpyro._naming.pairing import SECONDARY
from gpyro._naming.persistent import open_database
from gpyro._naming.rights import GroupRights, Rights, make_rights
from gpyro._naming.server import NAMESERVER_NAME, NameServer
from gpyro._naming.urifile import UriFile, read_uri_file
from gpyro.configuration import config
from gpyro.daemon import Daemon
from gpyro.errors import ConnectionDeniedError, DaemonError, NamingError, PyroError, StorageError
from gpyro.storage.memory import MemoryStorage
from gpyro.storage.tree import TreeStorage
from gpyro.uri import PyroURI

if TYPE_CHECKING:
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

    Resources: `shutdown`, SIGTERM, ctrl-C or a caller's `shutdown` end it; its file goes with it, and so do its
    names unless they are in a database, which is closed when the last caller has been answered.
    Errors: a file that cannot be written is told and passed over.

    Source: Pyro 3 manual, chapter 5, "Starting the NS".
    """

    def __init__(self, identification: object = None) -> None:
        self.identification = identification
        self.daemon: Daemon | None = None
        self.ns: NameServer | None = None
        self.uri: PyroURI | None = None
        self._file: UriFile | None = None
        self._storage: SqliteStorage | None = None
        self.paired: PairedServer | None = None
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
            print(f"{'' if self.paired is None else f'{self.paired.title} '}Name Server started.", flush=True)
            self._started = True
        return True

    def initialize(
        self, hostname: str | None = None, port: int | None = None, *, keep: bool | int = False,
        dontlookupother: bool | int = False, verbose: bool | int = False, insecure_no_auth: bool = False,
        rights: Rights | Mapping[str, GroupRights] | None = None, persistent: bool | int = 0,
        dbdir: str | None = None, role: Role | None = None, pair_identification: object = None,
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
            role: be one of a pair, see `joining.Role`; None is no pair.
            pair_identification: what to prove ourselves with to the other one; by default `identification`.

        Raises:
            ConfigurationError: the rights cannot be any.
            StorageError: the database is damaged, in use, or not one that can be used.
            NamingError: a name server is running there already.
            DaemonError: it cannot listen there, or this starter has been used before.
        """
        if self.daemon is not None:
            raise DaemonError(f"this starter has been used before, for {self.uri}; make a new one")
        port = default_port(role) if port is None else port
        checked = make_rights(rights)
        if not dontlookupother and role is None:
            _refuse_second(hostname, port)
        if persistent or dbdir:
            self._storage = open_database(dbdir)
        try:
            self._connect(hostname or "", port, bool(keep), insecure_no_auth, checked)
            self._name(role, pair_identification)
        except BaseException:
            self._close_storage()
            raise
        if checked is not None and checked.names_somebody() and self.identification is None:
            print(
                "WARNING: the rights name callers, but nobody has to identify himself "
                "(-i, --identification-file), so nobody has them"
            )
        self._tell(bool(keep), bool(verbose))
        self._write_file()
        if self._storage is not None:
            print(f"Persistent mode, database is in {os.path.dirname(self._storage.path)}")

    def _connect(
        self, hostname: str, port: int, keep: bool, insecure_no_auth: bool, rights: Rights | None
    ) -> None:
        self.daemon = _make_daemon(hostname, port, insecure_no_auth, as_identifications(self.identification))
        storage = self._storage or MemoryStorage(created=time.time())
        self.ns = NameServer(storage, keep_running=keep, on_shutdown=self._on_remote_shutdown, rights=rights)

    def _name(self, role: Role | None, identification: object) -> None:
        """Put the name server under its own name, alone or as one of a pair."""
        assert self.daemon is not None and self.ns is not None
        if role is not None:
            if identification is None and not isinstance(self.identification, (list, tuple)):
                identification = self.identification
            storage = self.ns._storage
            assert isinstance(storage, TreeStorage)
            self.paired = PairedServer(self.daemon, self.ns, storage, role, identification)
            self.uri = self.paired.uri
            self.paired.start()
            return
        self.daemon.useNameServer(self.ns)
        # In a database there may be the one of the run before, on another port; this takes its place.
        self.uri = self.daemon.connectPersistent(self.ns, NAMESERVER_NAME)

    def _tell(self, keep: bool, verbose: bool) -> None:
        assert self.daemon is not None
        if self.identification is not None:
            print("Requiring connection authentication.")
        if verbose or keep:
            print("Will ignore shutdown requests." if keep else "Will accept shutdown requests.")
        if not self.uri or self.uri.is_unix:
            print(f"Name server listening on: {self.daemon.hostname}")
        else:
            print(f"Name server listening on: {self.daemon.hostname} port {self.daemon.port}")
        print(f"URI is: {self.uri}")

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
        return [] if self.daemon is None or self._ending else self.daemon.getServerSockets()

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
        if self.paired is not None:
            self.paired.leave()
        if self.daemon is not None:
            self.daemon.shutdown(True)
        self._close_storage()

    def _close_storage(self) -> None:
        if self._storage is not None:
            try:
                self._storage.close()
            except StorageError as exc:
                print(f"WARNING: {exc}")


def _refuse_second(hostname: str | None, port: int) -> None:
    """Look whether a name server is running: where this one would be, and where this user's file says.

    Raises:
        NamingError: it is.
    """
    places: list[tuple[str | None, int | None]] = []
    if port:
        places.append((hostname or config.host or "localhost", port))
    try:
        uri = read_uri_file(config.ns_urifile)
        places.append(("./u:" + (uri.unix_path or "") if uri.is_unix else uri.address, uri.port))
    except NamingError:
        pass
    for host, port_there in places:
        try:
            other = NameServerLocator().getNS(host, port_there)
            there = str(other.URI)
            other._release()
        except ConnectionDeniedError:
            there = f"on {host} port {port_there}, and it wants an identification"
        except PyroError:
            continue
        raise NamingError(
            f"Name Server was not started: one is running already, {there}; "
            "end it with `gpyro nsc shutdown`, or start another one beside it with -r"
        )


def as_identifications(identification: object) -> list[object] | None:
    """Return what a daemon is to accept, of one identification, several, or none (None)."""
    if identification is None:
        return None
    return list(identification) if isinstance(identification, (list, tuple)) else [identification]


def _make_daemon(
    hostname: str, port: int, insecure_no_auth: bool, identifications: list[object] | None
) -> Daemon:
    try:
        return Daemon(
            host=hostname, port=port, norange=True, insecure_no_auth=insecure_no_auth,
            identifications=identifications,
        )  # fmt: skip
    except DaemonError as exc:
        if getattr(exc.__cause__, "errno", None) == errno.EADDRINUSE:
            raise DaemonError(
                f"Name Server was not started: port {port} of {hostname or 'localhost'} is in use, perhaps by "
                "another name server (`gpyro nsc ping` tells); choose another port with -p"
            ) from exc
        raise
