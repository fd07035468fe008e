"""The daemon: which objects can be reached, who calls them, and the life of a server.

A daemon listens from the start, so that its addresses are good, but has no watchers until `requestLoop`,
`handleRequests` or `getServerSockets` first runs; from then on it belongs to that thread's hub. Nothing of the
hub refers to the Daemon itself, so one that nobody references any more unregisters its names and ends.
"""

from __future__ import annotations

import signal
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from gpyro import hub, seams
from gpyro._daemon.announcing import announce, announce_for_good, name_taken, withdraw
from gpyro._daemon.beginnings import initClient, initServer, settings_text
from gpyro._daemon.guarding import (
    checked_pickle,
    checked_tls,
    checked_validator,
    is_guarded,
    warn_of_pickle,
)
from gpyro._daemon.listening import listen, published_host, unix_path_of, warn_if_open
from gpyro._daemon.registry import DAEMON_ID, INTERNAL_NAME, Registry
from gpyro._daemon.service import Service
from gpyro.access import EVERYBODY, Allow, parse_rules
from gpyro.configuration import Settings
from gpyro.configuration import config as process_config
from gpyro.errors import DaemonError, NamingError, ProtocolError
from gpyro.log import Log
from gpyro.names import Reason, require_text
from gpyro.objects import ObjBase
from gpyro.uri import PyroURI, build_unix_address

if TYPE_CHECKING:
    from gpyro._serializers.pickle_rules import PickleRules
    from gpyro.auth import DefaultConnValidator, Means
    from gpyro.hub import TLSConfig

__all__ = ["DAEMON_ID", "Daemon", "initClient", "initServer"]


#: Seconds between two tries to change who is let in, while somebody else does.
WHO_SECONDS = 0.005


class Daemon:
    """Makes objects reachable and serves calls to them.

    Args:
        protocol: "PYRO", or "PYROSSL" for TLS.
        host: the address to bind; empty or None is the configured one, by default this machine's loopback.
            `./u:/path/of/socket` is a unix socket.
        port: where to listen; None and 0 are the configured port. It is the first of the `port_range` ports
            that are tried.
        norange: take exactly this port; together with port=0, one of the system's choice.
        publishhost: the host that addresses name, where it is not the bound one.
        config: settings for this daemon; the process's by default.
        tls: a TLSConfig for "PYROSSL"; by default the one that the settings ssl_* describe.
        insecure_no_auth: listen beyond this machine although anybody there may call.
        offload_all: run every method in a native thread of a bounded pool.
        identifications: who may call, as in `setAllowedIdentifications`.
        validator: what decides about new connections, as in `setNewConnectionValidator`.
        allow: who may do what with every object that is connected without an `allow` of its own, and with
            this daemon's own object, of which `ping` and `resolve` are always for everybody; see `connect`.
            Its names are not checked, as it is for many objects. None lets everybody use everything.
        pickle: speak pickle, and nothing else, with callers that have logged in and were told the same; what
            their pickles may name. Equal to giving them a shell where the list is not short: docs/pickle.md.
        by_value: full names of modules whose plain classes travel by value without being registered, over
            loopback and to and from callers that have logged in; by default the setting of that name. See
            docs/by_value.md.
        prtcol: Pyro's name for `protocol`.

    Raises:
        DaemonError: the port is taken, or the address is open to others and nobody has to identify himself, or
            `allow` is malformed.
        ConfigurationError: the TLSConfig's files are not right, or `by_value` holds what is no module of the
            program's own.

    Resources: `shutdown()` ends it, as do leaving its `with` block and dropping the last reference to it.
    Errors: those of a method go to its caller; those of a connection end that connection. Both are logged.

    Source: Pyro 3 manual, chapter 4, "Create a Pyro Daemon".
    """

    def __init__(
        self, protocol: str = "PYRO", host: str | None = "", port: int | None = None,
        norange: bool | int = False, publishhost: str | None = None, *,
        config: Settings | None = None, tls: TLSConfig | None = None,
        insecure_no_auth: bool = False, offload_all: bool = False,
        identifications: Sequence[object] | None = None, validator: DefaultConnValidator | None = None,
        allow: Allow | None = None, pickle: PickleRules | None = None, by_value: Iterable[str] | None = None,
        prtcol: str | None = None,
    ) -> None:  # fmt: skip
        rules = parse_rules(allow)
        settings = config or process_config.snapshot()
        self.protocol = protocol = protocol if prtcol is None else prtcol
        self._unix_path = unix_path_of(host or settings.host)
        tls = checked_tls(protocol, tls, settings, self._unix_path)
        validator = checked_validator(validator, identifications)
        pickle = checked_pickle(pickle)
        modules = settings.by_value if by_value is None else Settings.by_value.check(by_value)
        self._insecure = insecure_no_auth
        self._who_lock = hub.NativeLock()
        sock, self.hostname, self.port, self._local = listen(
            host or settings.host, port, bool(norange), settings, insecure_no_auth, self._unix_path,
            is_guarded(None if validator is None else validator.means(), tls),
        )  # fmt: skip
        self._published = published_host(publishhost or settings.publishhost or self.hostname, settings)
        self._service = Service(sock, settings, offload_all, self._unix_path, pickle, modules)
        self._service.daemon = weakref.ref(self)
        self._service.tls = tls
        self._use_validator(validator)
        self._registry = self._service.registry
        self._registry.rules = None if rules is None else rules.granting(EVERYBODY, ("ping", "resolve"))
        self._registry.connect(_DaemonObject(self._registry), DAEMON_ID, INTERNAL_NAME)
        self._registry.rules = rules
        self._finalizer = weakref.finalize(self, self._service.end_unreferenced)
        # At the end of the process the service looks after itself.
        self._finalizer.atexit = False
        self.NameServer: Any = None
        warn_if_open(self.hostname, insecure_no_auth and not self._local)
        warn_of_pickle(self.hostname, pickle)
        if settings.tracelevel:
            Log.msg("Daemon", f"listening on {self.hostname} port {self.port};", settings_text(settings))

    def __repr__(self) -> str:
        where = self._unix_path or f"{self.hostname}:{self.port}"
        more = "" if self._service.pickle is None else ", speaks pickle"
        if self._service.by_value:
            more += f", by value {' '.join(self._service.by_value)}"
        return f"<Daemon {where}, {len(self._registry)} objects, {self._service.status()}{more}>"

    # -- objects ---------------------------------------------------------------------------------------------

    def connect(
        self, obj: object, name: str | None = None, *, attributes: Iterable[str] | None = None,
        allow: Allow | None = None, member: bool = False,
    ) -> PyroURI:  # fmt: skip
        """Make an object reachable, and register it with the name server under `name` if one is given.

        The name ends with this process, however that ends: it hangs on a lease, see docs/nameserver.md.

        Args:
            obj: an ObjBase, or any object, which is then delegated to.
            name: absolute (":Group.name") or relative to the default group; None keeps it out of the name
                server.
            attributes: names of data attributes that an AttrProxy may read and write; an ObjBase subclass
                has all its public ones without this.
            allow: {identity or role: {names}}; "*" in place of a role is everybody who was let in. A name is
                that of a method or of an attribute to read, "name=" one to write, "*" every method. What is
                granted to nobody is denied. None leaves the object the rules that it has, or the daemon's.
            member: stand beside the addresses that other servers have under this name.

        Returns:
            The address of the object.

        Raises:
            NamingError: the name is malformed or taken; the object is not connected then.
            DaemonError: the object is connected to another daemon, this one has ended, or `allow` is malformed
                or names what the object does not have.
        """
        return self._connect(obj, name, attributes, allow, persistent=False, member=member)

    def connectPersistent(
        self, obj: object, name: str | None = None, *, attributes: Iterable[str] | None = None,
        allow: Allow | None = None,
    ) -> PyroURI:  # fmt: skip
        """Like `connect`, for a name that stays when this daemon ends, with the id that it had before.

        Source: Pyro 3 manual, chapter 7, "Automatic Rebinding".
        """
        return self._connect(obj, name, attributes, allow, persistent=True)

    def _connect(
        self, obj: object, name: str | None, attributes: Iterable[str] | None, allow: Allow | None,
        persistent: bool, member: bool = False,
    ) -> PyroURI:  # fmt: skip
        rules = parse_rules(allow)
        self._service.check_alive()
        # As in Pyro an empty one is none.
        name = None if name is None else require_text(name) or None
        target = obj
        if not isinstance(obj, ObjBase):
            target = self._registry.wrapper_of(obj)
        assert isinstance(target, ObjBase)
        self._take_over(target)
        is_new = target.daemon is None
        if persistent and name:
            self._take_former_id(target, name)
        entry = self._registry.connect(target, target.GUID(), name, attributes, persistent, rules)
        target.daemon = self
        uri = self.uri_of(target)
        if name:
            self._register(target, name, uri, persistent, member, is_new)
        if rules is not None:
            # Those of an object that was here already change only once nothing can fail any more.
            entry.apply(rules)
        return uri

    def _take_over(self, target: ObjBase) -> None:
        """An object belongs to one daemon; one that has ended, or is the parent process's, lets it go."""
        other = target.daemon
        if other is None or other is self:
            return
        if not isinstance(other, Daemon) or other._service.is_usable():
            raise DaemonError(f"{type(target).__name__!r} object is connected to another daemon, {other!r}")
        target.daemon = None
        other._registry.discard(target)

    def _take_former_id(self, target: ObjBase, name: str) -> None:
        """A persistent object keeps the id under which the name server knows it."""
        if self.NameServer is None:
            return
        try:
            target.objectGUID = self.NameServer.resolve(name).objectID
        except NamingError:
            return

    def _register(
        self, target: ObjBase, name: str, uri: PyroURI, persistent: bool, member: bool, is_new: bool
    ) -> None:
        if self.NameServer is None:
            Log.warn("Daemon", f"{name!r} is not registered: no name server is known (see useNameServer)")
            return
        try:
            if persistent:
                announce_for_good(self.NameServer, name, uri)
            else:
                announce(self.NameServer, name, uri, member)
        except BaseException as exc:
            self._registry.forget_name(target.GUID(), name)
            if is_new:
                self._registry.discard(target)
                target.daemon = None
            if isinstance(exc, NamingError) and exc.reason == Reason.NAME_EXISTS:
                raise name_taken(self.NameServer, name, exc) from exc
            raise
        self._registry.note_registered(target.GUID(), name, uri)

    def disconnect(self, obj: object) -> None:
        """Take an object, or the one with this id or address, out of the daemon and the name server.

        Raises:
            KeyError: it is not connected here.
        """
        self._service.check_process()
        object_id = self._id_of(obj)
        entry = self._registry.disconnect(object_id)
        if isinstance(entry.obj, ObjBase):
            entry.obj.daemon = None
        if self.NameServer is not None:
            for name, uri in entry.registered.items():
                withdraw(self.NameServer, name, uri)

    def _id_of(self, obj: object) -> str:
        if isinstance(obj, str):
            return obj
        if isinstance(obj, PyroURI):
            return obj.objectID
        if isinstance(obj, ObjBase):
            return obj.GUID()
        return self._registry.wrapper_of(obj).GUID()

    def useNameServer(self, NS: Any) -> None:
        """Register the names of objects with this name server, a proxy from `getNS` or the server itself."""
        self.NameServer = NS
        self._service.name_server = NS

    def getRegistered(self) -> dict[str, str | None]:
        """Return the ids of all connected objects, each with its name or None."""
        return self._registry.listing()

    def uri_of(self, obj: ObjBase) -> PyroURI:
        """Return the address of a connected object."""
        host = build_unix_address(self._unix_path) if self._unix_path else self._published
        return PyroURI(host, obj.GUID(), None if self._unix_path else self.port, self.protocol)

    # -- serving ---------------------------------------------------------------------------------------------

    def requestLoop(
        self, condition: Callable[[], object] | None = None, timeout: float | None = 3,
        others: Sequence[Any] = (), callback: Callable[[list[Any]], object] | None = None,
    ) -> None:  # fmt: skip
        """Serve until `condition()` is false, `shutdown` is called, or SIGTERM or ctrl-C comes.

        Ctrl-C ends it in order, as SIGTERM does; with the setting `as_pyro3` it then is a KeyboardInterrupt, too.

        Args:
            condition: looked at after each time something was served, and every `timeout` seconds.
            others: objects to select on for reading beside the daemon's own.
            callback: called with the list of those of `others` that are ready.

        Raises:
            DaemonError: the daemon belongs to another thread, or a loop of it has ended with the daemon before.
            KeyboardInterrupt: ctrl-C, with the setting `as_pyro3`; everything has been ended before.
        """
        _check_others(others, callback)
        service = self._service
        service.check_loop()
        service.start()
        with service.looping(), hub.Signals(self._on_signal):
            while not service.wants_to_end() and (condition is None or condition()):
                service.wakes_on_activity = condition is not None
                service.wait(None if condition is None else timeout, others, callback)
            service.wakes_on_activity = True
            if service.wants_to_end():
                # Still inside: peers count on a hub that runs, and a second signal ends the wait.
                service.shutdown()
                service.finish_drain()
                service.loop_ended = True
        if service.is_interrupted():
            raise KeyboardInterrupt

    def _on_signal(self, number: int) -> None:
        Log.msg("Daemon", f"signal {number}: shutting down")
        self._service.request_end(interrupted=number == signal.SIGINT)

    def handleRequests(
        self, timeout: float | None = None, others: Sequence[Any] = (),
        callback: Callable[[list[Any]], object] | None = None,
    ) -> None:  # fmt: skip
        """Serve at least one connection or request, or return after `timeout` seconds.

        0 serves what is pending and returns at once, None waits without limit. `others` and `callback` are
        those of `requestLoop`.
        """
        _check_others(others, callback)
        self._service.start()
        self._service.handle(timeout, others, callback)

    def getServerSockets(self) -> list[Any]:
        """Return what a foreign event loop has to select on for reading.

        When one of them is readable, call `handleRequests()`: it serves what is pending on all connections.
        """
        self._service.start()
        return self._service.selectables()

    def setTimeout(self, timeout: float | None) -> None:
        """Close connections on which nothing was called for `timeout` seconds; None or 0 never does."""
        self._service.idle_limit = float(timeout or 0)

    def setTransientsCleanupAge(self, secs: float) -> None:
        """Disconnect objects without a name that were not used for `secs` seconds; 0 never does.

        Their `_gotReaped()` is called. Source: Pyro 3 manual, chapter 7.
        """
        if secs < 0:
            raise ValueError(f"cleanup age of {secs!r} seconds; it is a positive number, or 0 for never")
        self._service.set_cleanup_age(float(secs))

    def setInitTLS(self, initTLS: Callable[[Any], object]) -> None:
        """Call `initTLS(storage)` once for each connection, when its local storage is first asked for."""
        if not callable(initTLS):
            raise TypeError(f"setInitTLS takes a function, not {initTLS!r}")
        self._service.init_storage = initTLS

    # -- who may call ----------------------------------------------------------------------------------------

    def setAllowedIdentifications(self, ids: Sequence[object] | None) -> None:
        """Let in only who proves that it has one of these; connections that are open stay.

        Args:
            ids: passphrases (text or bytes), which give callers the identities `passphrase:1`, `passphrase:2`
                and so on; passphrases with a name, keys or verifiers of `gpyro.auth`, which give them their own;
                for a validator with a `mungeIdent` whatever that takes. None lets everybody in, an empty list
                nobody.

        Raises:
            TypeError, ValueError: `ids` is no list, or one of them is nothing to log in with.
            DaemonError: others than this machine reach the daemon, and nobody would have to identify himself.

        Source: Pyro 3 manual, chapter 9, "Connection Authentication".
        """
        with self._changing_who():
            current = self._service.entrance.validator
            if current is None:
                self._use_validator(checked_validator(None, ids))
            elif current.sorts_itself():
                before = current.allowedIDs, current.identifications
                try:
                    current.setAllowedIdentifications(ids)
                    self._use_validator(current)
                except BaseException:
                    current.allowedIDs, current.identifications = before
                    raise
            else:
                # Ready before it holds, so that nobody waits at the door while passphrases are salted.
                allowed, wanted = current.sort_allowed(ids)
                self._check_guarded(current.means_with(wanted))
                self._service.entrance.prepare(wanted)
                current.allowedIDs, current.identifications = allowed, wanted

    def setNewConnectionValidator(self, validator: DefaultConnValidator) -> None:
        """Let a validator decide about new connections.

        The identifications that the daemon wants stay, where the validator has none and no way of its own to look
        at them.

        Raises:
            TypeError: it is no DefaultConnValidator.
            DaemonError: others than this machine reach the daemon, and nobody would have to identify himself.
        """
        if validator is None:
            raise TypeError("validator must be specialization of DefaultConnValidator, not None")
        checked_validator(validator, None)
        with self._changing_who():
            current = self._service.entrance.validator
            if current is not None:
                validator.inherit(current)
            self._use_validator(validator)

    def set_roles(self, roles: Mapping[str, Iterable[str]]) -> None:
        """Give identities roles, for the rules of `allow=`; holds for connections that come.

        Args:
            roles: identity to names of roles: `{"press-4": ["operator"], "passphrase:1": ["reader"]}`. A caller
                with a certificate has the identity `certificate:NAME`.

        Raises:
            TypeError, ValueError: a role is no name.
        """
        self._service.entrance.set_roles(roles)

    @contextmanager
    def _changing_who(self) -> Iterator[None]:
        """One after another, from whatever thread or greenlet; salting lasts, so no thread may be blocked."""
        while not self._who_lock.acquire(blocking=False):
            hub.sleep(WHO_SECONDS)
        try:
            yield
        finally:
            self._who_lock.release()

    def _use_validator(self, validator: DefaultConnValidator | None) -> None:
        entrance = self._service.entrance
        if validator is not None:
            self._check_guarded(validator.means())
            entrance.prepare(validator.identifications)
        else:
            self._check_guarded(None)
        entrance.validator = validator

    def _check_guarded(self, means: Means | None) -> None:
        if self._local or self._insecure or is_guarded(means, self._service.tls):
            return
        raise DaemonError(
            f"the daemon on {self.hostname} is open to others than this machine, and nobody would have to "
            "identify himself any more; give a list of identifications, which may be empty"
        )

    def getLocalStorage(self) -> Any:
        """Return the storage of the running call's connection; `.caller` is the connection.

        Raises:
            DaemonError: no call is running.
        """
        return self._service.local_storage()

    # -- the end ---------------------------------------------------------------------------------------------

    def shutdown(self, disconnect: bool = False) -> None:
        """Stop serving: unregister the names, take no more connections, finish the calls that are running.

        Safe from any thread. Inside a call or a loop it returns at once and `requestLoop` ends when the calls
        have; otherwise it returns when they have.

        Args:
            disconnect: take the objects out of the daemon too, when the calls have ended.
        """
        self._service.shutdown(disconnect)

    def is_ending(self) -> bool:
        """Tell whether it ends or has ended; a method that waits looks here now and then, and returns soon."""
        return self._service.wants_to_end()

    def __enter__(self) -> Daemon:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown(True)


class _DaemonObject(ObjBase):
    """What every daemon tells about itself, under a well-known id."""

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self.objectGUID = DAEMON_ID
        self._registry = registry

    def getRegistered(self) -> dict[str, str | None]:
        """Return the ids of all connected objects, each with its name or None."""
        return self._registry.listing()

    def resolve(self, name: str) -> str:
        """Return the id of the object that was connected under `name`, for PYROLOC addresses."""
        return self._registry.id_of_name(name)

    def ping(self) -> None:
        """Answer."""


def _check_others(others: Sequence[Any], callback: object) -> None:
    if others and callback is None:
        raise ProtocolError("callback required: what should be called when one of `others` is ready?")


def _daemon_of(obj: object) -> Daemon | None:
    daemon = obj.daemon if isinstance(obj, ObjBase) else None
    return daemon if isinstance(daemon, Daemon) else None


seams.get_daemon_of.fill(_daemon_of)
