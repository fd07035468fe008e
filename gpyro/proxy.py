"""The caller's view of a remote object: dynamic proxies, with and without attributes.

A proxy connects on first use, over one connection for each OS thread that uses it, and may be shared by any
number of greenlets and threads. It does nothing by itself: printing, comparing, hashing or copying it, or
looking whether it has a method, never goes over the network.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gpyro import hub, seams
from gpyro._proxy.core import Core, run_callbacks
from gpyro.configuration import Settings
from gpyro.connection import METHOD, Connection, NotStarted
from gpyro.errors import ConnectionDeniedError, PyroError, TimeoutError, URIError
from gpyro.uri import PyroURI

if TYPE_CHECKING:
    from gpyro._serializers.pickle_rules import PickleRules
    from gpyro.auth import DefaultConnValidator
    from gpyro.hub import TLSConfig

__all__ = ["AttrProxy", "Proxy", "RemoteMethod", "getAttrProxyForURI", "getProxyForURI", "run_callbacks"]


class RemoteMethod:
    """One method of a remote object; calling it is a remote call."""

    __slots__ = ("_core", "_name")

    def __init__(self, core: Core, name: str) -> None:
        self._core = core
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        core = self._core
        calls = core.calls
        # The way of nearly every call; everything unusual is in Core.call.
        if calls is not None and calls.pending and calls.hub is hub.get_hub_if_exists() and not core.oneway:
            target = core.targets.get(self._name)
            if target is not None:
                try:
                    return calls.call(target, args, kwargs, core.timeout)
                except NotStarted:
                    pass
        return core.call(self._name, args, kwargs)

    def __repr__(self) -> str:
        return f"<RemoteMethod {self._name} of {self._core.uri or 'an object of a connection'}>"


class Adapter:
    """What Pyro calls a proxy's adapter: its connection, to be bound again when the server has moved."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def __repr__(self) -> str:
        return f"<Adapter of {self._proxy!r}>"

    @property
    def _core(self) -> Core:
        core: Core = self._proxy.__dict__["_core"]
        return core

    @property
    def URI(self) -> PyroURI | None:
        """The address behind the proxy, as far as it is known."""
        return self._core.address()

    @property
    def timeout(self) -> float | None:
        """Seconds that each call gets; None is no limit."""
        return self._core.timeout

    @property
    def onewayMethods(self) -> list[str]:
        """The methods that nobody waits for."""
        return sorted(self._core.oneway)

    @property
    def ident(self) -> object:
        """What the proxy proves itself with, None for nothing."""
        return self._core.identification

    def setTimeout(self, timeout: float | None) -> None:
        """See `Proxy._setTimeout`."""
        self._proxy._setTimeout(timeout)

    def setOneway(self, methods: str | Iterable[str]) -> None:
        """See `Proxy._setOneway`."""
        self._proxy._setOneway(methods)

    def setIdentification(self, ident: object, munge: bool | int = True) -> None:
        """See `Proxy._setIdentification`.

        Raises:
            TypeError: `munge` is false; here nothing is munged before, a validator of one's own does it.
        """
        if not munge:
            raise TypeError("munge=False: give the identification itself, a validator's mungeIdent is asked later")
        self._proxy._setIdentification(ident)

    def setNewConnectionValidator(self, validator: DefaultConnValidator) -> None:
        """See `Proxy._setNewConnectionValidator`."""
        self._proxy._setNewConnectionValidator(validator)

    def connected(self) -> bool:
        """Tell whether there is a connection."""
        return self._core.is_connected()

    def release(self) -> None:
        """See `Proxy._release`."""
        self._proxy._release()

    def rebindURI(self, tries: int = 2**63 - 1, wait: float = 1) -> None:
        """Connect again, at most `tries` times with `wait` seconds between.

        Raises:
            TimeoutError: all tries failed.
            ConnectionDeniedError: the identification is not accepted.

        Source: Pyro 3 manual, chapter 7, "Automatic Rebinding".
        """
        for attempt in range(tries):
            self._core.release()
            self._core.unresolve()
            try:
                self._core.connect()
                return
            except PyroError as exc:
                if isinstance(exc, ConnectionDeniedError) and exc.code == ConnectionDeniedError.SECURITY:
                    raise  # It is there, and will say the same next time.
                if attempt + 1 < tries:
                    hub.sleep(wait)
        raise TimeoutError(f"connection lost: {self._core.uri} could not be reached in {tries} tries")


class Proxy:
    """Calls the public methods of a remote object as if they were local.

        quotes = gpyro.Proxy("PYRONAME://:Default.our_object")
        print(quotes.getName())

    Args:
        URI: a PyroURI, or the text of one: PYRO, PYRONAME or PYROLOC.
        config: settings for this proxy; the process's by default.
        tls: how to speak TLS with a PYROSSL or PYROLOCSSL address; by default as the settings ssl_* say.
        pickle: speak pickle, and nothing else, with a daemon that has proved who it is and was told the same; what
            its pickles may name. See docs/pickle.md before you use it.
        by_value: full names of modules whose plain classes travel by value without being registered, over
            loopback and with servers that have proved who they are; by default the setting of that name. See
            docs/by_value.md.

    Raises:
        URIError: the text is not an address.
        ConfigurationError: `by_value` holds what is no module of the program's own.

    Resources: `_release()` closes its connection, as does its end; it connects again when used.
    """

    _gpyro_by_reference_ = True

    def __init__(
        self, URI: PyroURI | str, *, config: Settings | None = None, tls: TLSConfig | None = None,
        pickle: PickleRules | None = None, by_value: Iterable[str] | None = None,
    ) -> None:  # fmt: skip
        parsed = URI if isinstance(URI, PyroURI) else PyroURI(URI)
        core = self.__dict__["_core"] = Core(parsed, config)
        if tls is not None and not isinstance(tls, hub.TLSConfig):
            raise TypeError(f"tls={tls!r}; it takes gpyro.TLSConfig(...), see docs/tls.md")
        core.tls = tls
        if pickle is not None:
            from gpyro._serializers.pickle_rules import PickleRules  # only where somebody wants pickles

            if not isinstance(pickle, PickleRules):
                raise TypeError(f"pickle={pickle!r}; it takes gpyro.PickleRules(allow=[...]), see docs/pickle.md")
            core.pickle_rules = pickle
        if by_value is not None:
            core.by_value = Settings.by_value.check(by_value)
        self.__dict__["objectID"] = parsed.objectID

    @property
    def URI(self) -> PyroURI:
        """The address, resolved as far as it is known."""
        core: Core = self.__dict__["_core"]
        uri = core.address()
        if uri is None:
            raise URIError("an object of a connection has no address")
        return uri

    @property
    def adapter(self) -> Adapter:
        """Pyro's name for what holds the connection."""
        return Adapter(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{name!r}: private names are never remote")
        method = RemoteMethod(self.__dict__["_core"], name)
        self.__dict__[name] = method
        return method

    # -- Pyro's controls -------------------------------------------------------------------------------------

    def _setOneway(self, methods: str | Iterable[str]) -> None:
        """Do not wait for these methods, besides those named before; nothing is heard of them."""
        names = [methods] if isinstance(methods, str) else list(methods)
        self.__dict__["_core"].oneway |= frozenset(names)

    def _setTimeout(self, timeout: float | None) -> None:
        """Give each call `timeout` seconds, connecting included; None or 0 takes the limit away."""
        if timeout is not None and timeout < 0:
            raise ValueError(f"timeout of {timeout!r} seconds; it is a positive number, or None for no limit")
        self.__dict__["_core"].timeout = float(timeout) if timeout else None

    def _setIdentification(self, ident: object) -> None:
        """Prove who we are with `ident` on the next connection, and let the server prove that it knows us.

        It stays with this proxy and its copies; a proxy that is passed on has none.

        Args:
            ident: a passphrase (text or bytes), or a key of `gpyro.auth.load_key`; with a validator of one's own
                whatever that takes. None takes it back.

        Raises:
            TypeError, ValueError: it is none of these.

        Source: Pyro 3 manual, chapter 9, "Connection Authentication".
        """
        core: Core = self.__dict__["_core"]
        before, core.identification = core.identification, ident
        try:
            core.credentials()
        except (TypeError, ValueError):
            core.identification = before
            raise
        self._release()

    def _setNewConnectionValidator(self, validator: DefaultConnValidator) -> None:
        """Let a validator make the token for the server, or look at its certificate; on the next connection.

        Raises:
            TypeError: it is no DefaultConnValidator.
        """
        from gpyro.auth import DefaultConnValidator  # only proxies with a validator need it

        if not isinstance(validator, DefaultConnValidator):
            raise TypeError(f"validator must be specialization of DefaultConnValidator, not {validator!r}")
        self.__dict__["_core"].validator = validator
        self._release()

    def _release(self) -> None:
        """Close the connection; oneway calls still queued are sent first."""
        self.__dict__["_core"].release()

    # -- inert -----------------------------------------------------------------------------------------------

    def _gpyro_reference_(self) -> tuple[Any, str, bool]:
        core: Core = self.__dict__["_core"]
        name = core.object_id if core.bound is not None else str(core.uri)
        return core.bound, name, isinstance(self, AttrProxy)

    def _gpyro_read_(self, name: str) -> Any:
        return self.__dict__["_core"].call(name, (), {}, access=1)

    def _gpyro_write_(self, name: str, value: Any) -> None:
        self.__dict__["_core"].call(name, (value,), {}, access=2)

    def __repr__(self) -> str:
        core: Core = self.__dict__["_core"]
        where = core.uri if core.bound is None else f"object {core.object_id} of {core.bound.addr}"
        state = "connected" if core.is_connected() else "not connected"
        return f"<{type(self).__name__} {where}, {state}>"

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Proxy):
            return NotImplemented
        mine, theirs = self.__dict__["_core"], other.__dict__["_core"]
        return self.objectID == other.objectID and mine.bound is theirs.bound

    def __hash__(self) -> int:
        return hash(self.objectID)

    def __copy__(self) -> Proxy:
        core: Core = self.__dict__["_core"]
        if core.bound is not None:
            return self
        assert core.uri is not None
        twin = type(self)(core.uri, config=core._settings)
        core.hand_on(twin.__dict__["_core"])
        return twin

    def __deepcopy__(self, memo: object) -> Proxy:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        core: Core = self.__dict__["_core"]
        if core.bound is not None:
            raise TypeError(
                f"{self!r} cannot be pickled: what it stands for has no address; connect that to a daemon, and "
                "pickle a proxy for it"
            )
        return type(self), (str(core.uri),), (core.timeout, core.oneway)

    def __setstate__(self, state: tuple[float | None, frozenset[str]]) -> None:
        core: Core = self.__dict__["_core"]
        core.timeout, core.oneway = state


class AttrProxy(Proxy):
    """A proxy that also reads and writes the object's public data attributes; each access is a remote call.

    What is read is a copy: `proxy.items.append(1)` changes nothing remotely.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{name!r}: private names are never remote")
        value = self._gpyro_read_(name)
        if value is not METHOD:
            return value
        method = RemoteMethod(self.__dict__["_core"], name)
        self.__dict__[name] = method
        return method

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or name in ("URI", "adapter", "objectID"):
            raise AttributeError(f"{name!r} of a proxy cannot be set")
        if name in self.__dict__:
            raise AttributeError(f"not an attribute: {name!r} is a method of the remote object")
        self._gpyro_write_(name, value)


def getProxyForURI(URI: PyroURI | str) -> Proxy:
    """Return a proxy for an address; the same as `Proxy(URI)`."""
    return Proxy(URI)


def getAttrProxyForURI(URI: PyroURI | str) -> AttrProxy:
    """Return a proxy with attributes for an address; the same as `AttrProxy(URI)`."""
    return AttrProxy(URI)


def _bound_proxy(connection: Connection, object_id: str) -> Proxy:
    """Make a proxy for an object that the other end of a connection has passed."""
    proxy = Proxy.__new__(Proxy)
    core = Core(None, None, connection)
    core.object_id = object_id
    proxy.__dict__["_core"] = core
    proxy.__dict__["objectID"] = object_id
    return proxy


seams.make_proxy.fill(Proxy)
seams.make_attr_proxy.fill(AttrProxy)
seams.make_bound_proxy.fill(_bound_proxy)
