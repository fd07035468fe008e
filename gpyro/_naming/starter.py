"""Runs a name server: its daemon, its file, its beginning and its end."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from gpyro._naming.announcing import Announcement, look_for_others, open_broadcast_server
from gpyro._naming.broadcast import BroadcastServer
from gpyro._naming.joining import PairedServer, Role, default_port
from gpyro._naming.pairing import SECONDARY
from gpyro._naming.persistent import open_database
from gpyro._naming.plugins import check_guards, describe_guards
from gpyro._naming.rights import GroupRights, Rights, make_rights
from gpyro._naming.server import NAMESERVER_NAME, NameServer
from gpyro._naming.starting import Starter
from gpyro.configuration import config
from gpyro.errors import NamingError
from gpyro.storage.memory import MemoryStorage
from gpyro.storage.tree import TreeStorage

__all__ = ["NameServerStarter"]


class NameServerStarter(Starter):
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

    title = "Name Server"
    failure = NamingError

    def __init__(self, identification: object = None) -> None:
        super().__init__(identification)
        self.ns: NameServer | None = None
        self.bcserver: BroadcastServer | None = None
        self.paired: PairedServer | None = None

    # -- the beginning ---------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._answer_broadcasts()
        if self.ns is not None:
            # A storage may have leases from before.
            self.ns._leases.watch()

    def _full_title(self) -> str:
        return f"{'' if self.paired is None else f'{self.paired.title} '}{self.title}"

    def _answer_broadcasts(self) -> None:
        """Begin to, in the thread that serves callers too."""
        if self.bcserver is not None:
            self.bcserver.start()

    def initialize(
        self, hostname: str | None = None, port: int | None = None, bcport: int | None = None,
        keep: bool | int = False, persistent: bool | int = 0, dbdir: str | None = None, Guards: Any = (None, None),
        allowmultiple: bool | int = False, dontlookupother: bool | int = False, verbose: bool | int = False, *,
        role: Role | None = None, bcaddr: str | None = None, nobroadcast: bool | int = False,
        insecure_no_auth: bool = False, rights: Rights | Mapping[str, GroupRights] | None = None,
        pair_identification: object = None, nsport: int | None = None,
    ) -> None:  # fmt: skip
        """Get the name server ready; it answers as soon as its requests are handled.

        The order of those by position is Pyro's.

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
            role: be one of a pair, see `joining.Role`; None, and Pyro's (0, None), are no pair.
            pair_identification: what to prove ourselves with to the other one; by default `identification`.
            nsport: Pyro's name for `port`.

        Raises:
            ConfigurationError: the rights or guards cannot be any.
            StorageError: the database is damaged, in use, or not one that can be used.
            NamingError: a name server is running there, or on this network, already.
            DaemonError: it cannot listen there, or this starter has been used before.
        """
        self._check_unused()
        role = None if role is not None and role[0] == 0 else role
        port = nsport if port is None else port
        port = default_port(role) if port is None else port
        checked = make_rights(rights)
        guards = check_guards(Guards)
        announcement = Announcement(
            hostname or config.host, bcport, bcaddr, off=bool(nobroadcast), shared=bool(allowmultiple)
        )
        if not dontlookupother and role is None:
            look_for_others(hostname, port, announcement)
        database = self._storage = open_database(dbdir) if persistent or dbdir else None
        try:
            self._open_daemon(
                hostname or "", port, True, insecure_no_auth,
                "perhaps by another name server (`gpyro nsc ping` tells)", guards.connections,
            )  # fmt: skip
            storage = database or MemoryStorage(created=time.time())
            self._serve(storage, bool(keep), checked, role, pair_identification)
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
        is_second = self.paired is not None and self.paired.pair.role == SECONDARY
        # Both may run on one machine, for one user.
        path = config.ns_urifile + ("2" if is_second else "")
        if self._write_file(path, "ns_urifile"):
            print(f"URI written to: {path}")
        if database is not None:
            print(f"Persistent mode, database is in {os.path.dirname(database.path)}")
        self._note_initialized()

    def _serve(
        self, storage: TreeStorage, keep: bool, rights: Rights | None, role: Role | None, identification: object
    ) -> None:
        """Put the name server on its daemon, under its own name, alone or as one of a pair."""
        assert self.daemon is not None
        self.ns = NameServer(storage, keep_running=keep, on_shutdown=self._request_end, rights=rights)
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

    # -- a loop of the program's own -------------------------------------------------------------------------

    def getServerSockets(self) -> list[Any]:
        """Return what a foreign loop selects on for reading; see `Daemon.getServerSockets`."""
        if self.daemon is not None and not self._ending:
            self._answer_broadcasts()
        return super().getServerSockets()

    # -- the end ---------------------------------------------------------------------------------------------

    def shutdown(self, ns: object = None) -> None:
        """End the name server; safe from any thread. `ns` is accepted as in Pyro and not needed."""
        self._shut_down()

    def _leave(self) -> None:
        if self.bcserver is not None:
            self.bcserver.close()
        if self.paired is not None:
            self.paired.leave()
