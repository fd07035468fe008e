"""A name server joins a pair: where its twin is, what the twin calls here, and what both stand for."""

from __future__ import annotations

from gpyro import hub
from gpyro._naming.pairing import PRIMARY, SECONDARY, TWIN_ID, Pair, PairState
from gpyro._naming.primary import Primary
from gpyro._naming.secondary import Secondary
from gpyro._naming.server import NAMESERVER_NAME, NameServer
from gpyro.configuration import config
from gpyro.daemon import Daemon
from gpyro.errors import NamingError, PyroError, URIError
from gpyro.log import Log
from gpyro.proxy import Proxy
from gpyro.storage.tree import TreeStorage
from gpyro.uri import PyroURI

__all__ = ["PairedServer", "Role", "default_port", "twin_place"]

#: (1 for the primary or 2 for the secondary, "host:port" of the other one or None for where the settings say).
Role = tuple[int, "str | None"]

#: Seconds that the end of one of a pair waits for the other one to take its name out.
GOODBYE_SECONDS = 1.0


def default_port(role: Role | None) -> int:
    """Return where a name server listens that was told no port."""
    return config.ns2_port if role is not None and role[0] == SECONDARY else config.ns_port


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
        has_port = ":" in place.rpartition("]")[2]
        return given if has_port else PyroURI(given.address, TWIN_ID, port)
    except URIError as exc:
        raise NamingError(f"{place!r} is no place of a name server: {exc}; it is host:port") from exc


class PairedServer:
    """One name server of a pair, on its daemon.

    Args:
        storage: the names that `ns` has kept alone so far.
        identification: what to prove ourselves with to the other one; None for nothing.

    Resources: `start` begins the conversation with the other one, `leave` ends it.
    """

    def __init__(
        self, daemon: Daemon, ns: NameServer, storage: TreeStorage, role: Role, identification: object
    ) -> None:
        number, place = role
        there = twin_place(number, place)
        self.uri = daemon.connect(ns)
        self._ns = ns
        self._identification = identification
        ours = PyroURI(self.uri.address, TWIN_ID, self.uri.port, self.uri.protocol)
        side = Primary if number == PRIMARY else Secondary
        self.pair: Pair = side(storage, there, ours, self._reach, bool(place))
        self.pair.on_settled = self._name_both
        daemon.connect(ns._join(self.pair))

    def __repr__(self) -> str:
        return f"<PairedServer {self.uri}, {self.pair!r}>"

    @property
    def title(self) -> str:
        """What Pyro calls it when it is started."""
        return "Primary" if self.pair.role == PRIMARY else "Secondary"

    def start(self) -> None:
        """Begin to look for the twin; from the thread that serves the daemon."""
        assert self.pair.twin is not None
        print(f"Locating twin NameServer at {self.pair.twin.address} port {self.pair.twin.port}.")
        self.pair.start()

    def _reach(self, address: PyroURI) -> Proxy:
        proxy = Proxy(address)
        if self._identification is not None:
            proxy._setIdentification(self._identification)
        return proxy

    def _name_both(self, state: PairState) -> None:
        """Put the addresses under the servers' own name: ours, and the other one's once it is there."""
        self._ns.register(NAMESERVER_NAME, self.uri, replace=True)
        twin = self._ns.twin()[1]
        if state is PairState.LEADING and twin is not None:
            self._ns.register(NAMESERVER_NAME, twin, member=True)

    def leave(self) -> None:
        """Take our address out, and let the other one go on alone; leaving again does nothing."""
        if self.pair.state is PairState.ENDED:
            return
        with hub.Timeout(GOODBYE_SECONDS, False):
            try:
                self._ns.unregister(NAMESERVER_NAME, self.uri)
            except PyroError as exc:
                Log.msg("NameServer", f"our own name stays: {exc}")
        self.pair.end()
