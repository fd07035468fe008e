"""Runs a name server: its daemon, its file, its beginning and its end."""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping
from typing import Any

from gpyro import hub
from gpyro._naming.client import NameServerLocator
from gpyro._naming.pairing import PRIMARY, SECONDARY, TWIN_ID, Pair, PairState
from gpyro._naming.rights import GroupRights, Rights, make_rights
from gpyro._naming.server import NAMESERVER_NAME, NameServer
from gpyro._naming.urifile import UriFile, read_uri_file
from gpyro.configuration import config
from gpyro.daemon import Daemon
from gpyro.errors import ConnectionDeniedError, DaemonError, NamingError, PyroError, URIError
from gpyro.log import Log
from gpyro.proxy import Proxy
from gpyro.storage.memory import MemoryStorage
from gpyro.storage.tree import TreeStorage
from gpyro.uri import PyroURI

__all__ = ["NameServerStarter", "as_identifications"]

#: How often `waitUntilStarted` looks. It may be called from another thread than the one that starts, or from a
#: greenlet of the same one; looking now and then is what serves both.
LOOK_SECONDS = 0.01
#: Seconds that the end of one of a pair waits for the other one to take its name out.
GOODBYE_SECONDS = 1.0


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
        self.pair: Pair | None = None
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
            name = "" if self.pair is None else "Primary " if self.pair.role == PRIMARY else "Secondary "
            print(f"{name}Name Server started.", flush=True)
            self._started = True
        return True

    def initialize(
        self, hostname: str | None = None, port: int | None = None, *, keep: bool | int = False,
        dontlookupother: bool | int = False, verbose: bool | int = False, insecure_no_auth: bool = False,
        rights: Rights | Mapping[str, GroupRights] | None = None,
        role: tuple[int, str | None] | None = None, pair_identification: object = None,
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
            role: (1 for the primary or 2 for the secondary of a pair, "host:port" of the other one, or None for
                where the settings say); None is no pair.
            pair_identification: what to prove ourselves with to the other one; by default `identification`.

        Raises:
            ConfigurationError: the rights cannot be any.
            NamingError: a name server is running there already.
            DaemonError: it cannot listen there, or this starter has been used before.
        """
        if self.daemon is not None:
            raise DaemonError(f"this starter has been used before, for {self.uri}; make a new one")
        if port is None:
            port = config.ns2_port if role is not None and role[0] == SECONDARY else config.ns_port
        checked = make_rights(rights)
        if not dontlookupother and role is None:
            _refuse_second(hostname, port)
        self.daemon = _make_daemon(hostname or "", port, insecure_no_auth, as_identifications(self.identification))
        storage = MemoryStorage(created=time.time())
        self.ns = NameServer(
            storage, keep_running=bool(keep), on_shutdown=self._on_remote_shutdown, rights=checked
        )
        self.daemon.useNameServer(self.ns)
        if role is None:
            self.uri = self.daemon.connect(self.ns, NAMESERVER_NAME)
        else:
            self._pair_up(role, pair_identification)
        if checked is not None and checked.names_somebody() and self.identification is None:
            print(
                "WARNING: the rights name callers, but nobody has to identify himself "
                "(-i, --identification-file), so nobody has them"
            )
        self._tell(bool(keep), bool(verbose))
        self._write_file()

    def _pair_up(self, role: tuple[int, str | None], identification: object) -> None:
        """Find the other name server of the pair, and share the names with it."""
        assert self.daemon is not None and self.ns is not None
        number, place = role
        uri = self.uri = self.daemon.connect(self.ns)
        if identification is None and not isinstance(self.identification, (list, tuple)):
            identification = self.identification

        def reach(address: PyroURI) -> Proxy:
            proxy = Proxy(address)
            if identification is not None:
                proxy._setIdentification(identification)
            return proxy

        ours = PyroURI(uri.address, TWIN_ID, uri.port, uri.protocol)
        storage = self.ns._storage
        assert isinstance(storage, TreeStorage)
        there = twin_place(number, place)
        self.pair = Pair(storage, number, there, ours, reach, bool(place))
        self.pair.on_settled = self._name_both
        self.daemon.connect(self.ns._join(self.pair))
        print(f"Locating twin NameServer at {there.address} port {there.port}.")
        self.pair.start()

    def _name_both(self, state: PairState) -> None:
        """Put the addresses under the servers' own name: ours, and the other one's once it is there."""
        assert self.ns is not None and self.uri is not None
        self.ns.register(NAMESERVER_NAME, self.uri, replace=True)
        twin = self.ns.twin()[1]
        if state is PairState.LEADING and twin is not None:
            self.ns.register(NAMESERVER_NAME, twin, member=True)

    def _leave_pair(self) -> None:
        """Take our address out, and let the other one go on alone."""
        if self.pair is None or self.pair.state is PairState.ENDED:
            return
        assert self.ns is not None
        with hub.Timeout(GOODBYE_SECONDS, False):
            try:
                self.ns.unregister(NAMESERVER_NAME, self.uri)
            except PyroError as exc:
                Log.msg("NameServer", f"our own name stays: {exc}")
        self.pair.end()

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
        is_second = self.pair is not None and self.pair.role == SECONDARY
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
        self._leave_pair()
        if self.daemon is not None:
            self.daemon.shutdown(True)


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


def twin_place(role: int, place: str | None) -> PyroURI:
    """Return where the other name server of a pair is to be looked for.

    Args:
        role: ours. place: "host:port" or "host"; None for where the settings ns_* or ns2_* say.

    Raises:
        NamingError: it is no place.
    """
    if role not in (PRIMARY, SECONDARY):
        raise NamingError(f"role {role!r} in a pair of name servers; it is 1, the primary, or 2, the secondary")
    host, port = config.ns_hostname or "localhost", config.ns_port
    if role == PRIMARY:
        host, port = config.ns2_hostname or "localhost", config.ns2_port
    try:
        if not place:
            return PyroURI(host, TWIN_ID, port)
        given = PyroURI(f"PYRO://{place}/{TWIN_ID}")
        return given if given.port else PyroURI(given.address, TWIN_ID, port)
    except URIError as exc:
        raise NamingError(f"{place!r} is no place of a name server: {exc}; it is host:port") from exc


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
