"""What may be called on an object: the ObjBase family, exposure and marks.

The table of callable names is built once, when an object is connected. What comes over the wire is only ever a
key into it. This room is pure; locks live with connections, clocks and local storage with the daemon.
"""

from __future__ import annotations

import functools
import sys
import types
import weakref
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from gpyro import seams
from gpyro.errors import DaemonError, UnknownObjectError
from gpyro.util import make_guid

__all__ = [
    "DAEMON_ID", "CallbackObjBase", "Method", "ObjBase", "SynchronizedObjBase", "Table", "build_table",
    "cancellable", "expose", "idempotent", "offload", "oneway",
]  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

#: The object that every daemon has for itself. Source: Pyro.constants.INTERNAL_DAEMON_GUID.
DAEMON_ID = "c0000000011000001000000010000001"
_MARK = "_gpyro_marks_"
_BY_MODULES = frozenset(sys.stdlib_module_names) - {"__main__"}


# -- marks ---------------------------------------------------------------------------------------------------


def _mark(item: T, mark: str) -> T:
    """Note a mark on a function, a property or a class (not inherited by its subclasses)."""
    target: Any = item.fget if isinstance(item, property) else item
    target = target.__func__ if isinstance(target, (staticmethod, classmethod)) else target
    marks = target.__dict__.get(_MARK, frozenset()) if hasattr(target, "__dict__") else frozenset()
    try:
        setattr(target, _MARK, marks | {mark})
    except (AttributeError, TypeError) as exc:
        raise TypeError(f"@{mark} marks functions and classes, not {item!r}") from exc
    return item


def expose(item: T) -> T:
    """Make a method callable from outside; a class that uses it exposes nothing else of its own.

    On a class, all its public methods are meant.
    """
    name = getattr(item, "__name__", "")
    if name.startswith("_"):
        raise ValueError(f"{name!r} starts with an underscore; such names are never callable from outside")
    return _mark(item, "expose")


def oneway(method: F) -> F:
    """The caller does not wait for this method, and hears nothing of its result or errors."""
    return _mark(method, "oneway")


def offload(method: F) -> F:
    """Run this method in a native thread of a bounded pool: for code that blocks outside gevent."""
    return _mark(method, "offload")


def idempotent(method: F) -> F:
    """This method may be called again when a connection is lost and nobody knows whether it ran.

    Proxies learn that from its first answer, and call it up to two more times.
    """
    return _mark(method, "idempotent")


def cancellable(method: F) -> F:
    """Cancel this method when its caller is gone, also without a deadline."""
    return _mark(method, "cancellable")


# -- the table -----------------------------------------------------------------------------------------------


class Method:
    """One callable name of one object.

    `allowed` are the principals that may call it (`gpyro.access`), or None: everybody may. `synchronized` and
    `reports` are what its owner's kind asks for: one call at a time, and errors told where they happen too.
    """

    __slots__ = (
        "allowed", "cancellable", "function", "idempotent", "name", "offload", "oneway", "owner", "reports",
        "synchronized",
    )  # fmt: skip

    def __init__(self, function: Callable[..., Any], name: str, owner: object, marks: Iterable[str] = ()) -> None:
        self.function = function
        self.name = name
        self.owner = owner
        self.allowed: frozenset[str] | None = None
        self.oneway = "oneway" in marks
        self.offload = "offload" in marks
        self.idempotent = "idempotent" in marks
        self.cancellable = "cancellable" in marks
        self.synchronized = isinstance(owner, SynchronizedObjBase)
        self.reports = isinstance(owner, CallbackObjBase)

    def __repr__(self) -> str:
        subject = getattr(self.owner, "delegate", None) or self.owner
        return f"<Method {type(subject).__name__}.{self.name}>"


class Table:
    """What is callable, readable and writable on one object, by name.

    `owner` is that object; `attributes_of` the one that has data attributes for the outside, or None;
    `attribute_names` are those, or None where all public ones are meant but for `hidden_names`.
    """

    __slots__ = ("_attribute_names", "_attributes_of", "_hidden_names", "description", "methods", "owner")

    def __init__(
        self,
        owner: object,
        methods: dict[str, Method],
        attributes_of: object | None,
        attribute_names: frozenset[str] | None,
        hidden_names: frozenset[str],
        description: str,
    ) -> None:
        self.owner = owner
        self.methods = methods
        self._attributes_of = attributes_of
        self._attribute_names = attribute_names
        self._hidden_names = hidden_names
        self.description = description

    def __repr__(self) -> str:
        return f"<Table of {self.description}: {', '.join(sorted(self.methods)) or 'nothing'}>"

    def find(self, name: str) -> Method:
        """Return the method of that name.

        Raises:
            AttributeError: it is not in the table; private and inherited names of ObjBase never are.
        """
        method = self.methods.get(name)
        if method is None:
            raise AttributeError(self._refusal(name, "method"))
        return method

    def read(self, name: str) -> Any:
        """Return the value of a public data attribute.

        Raises:
            AttributeError: there is none, or it is not for the outside.
        """
        holder = self._holder(name)
        value = getattr(holder, name)
        if _is_code(value):
            raise AttributeError(self._refusal(name, "data attribute"))
        return value

    def write(self, name: str, value: Any) -> None:
        """Set a public data attribute; a new name is created where the object allows it.

        Raises:
            AttributeError: it is a method, or not for the outside.
        """
        if name in self.methods:
            raise AttributeError(f"not an attribute: {name!r} of {self.description} is a method")
        holder = self._holder(name)
        # Not what a property gives: writing should not read.
        if _is_code(getattr(type(holder), name, None)) or _is_code(getattr(holder, "__dict__", {}).get(name)):
            raise AttributeError(self._refusal(name, "data attribute"))
        setattr(holder, name, value)

    def attribute_names(self) -> frozenset[str]:
        """Return the data attributes for the outside as far as they are known now; no property is asked."""
        if self._attributes_of is None:
            return frozenset()
        if self._attribute_names is not None:
            return self._attribute_names
        items: dict[str, Any] = {}
        for cls in reversed(type(self._attributes_of).__mro__):
            items.update(vars(cls))
        items.update(getattr(self._attributes_of, "__dict__", {}))
        return frozenset(
            name for name, item in items.items()
            if not name.startswith("_") and name not in self._hidden_names and not _is_code(item)
        )  # fmt: skip

    def _holder(self, name: str) -> object:
        allowed = self._attribute_names
        if (
            self._attributes_of is None
            or name.startswith("_")
            or name in self._hidden_names
            or (allowed is not None and name not in allowed)
        ):
            raise AttributeError(self._refusal(name, "data attribute") + self._way_out(name))
        return self._attributes_of

    def _way_out(self, name: str) -> str:
        if self._attributes_of is not None or name.startswith("_"):
            return ""
        return f"; its server names those that are: connect(obj, attributes=[{name!r}])"

    def _refusal(self, name: str, kind: str) -> str:
        if name.startswith("_"):
            return f"{name!r} of {self.description} is private; such names are never reachable from outside"
        return f"{self.description} has no {kind} {name!r} for the outside"


def build_table(
    obj: object, attributes: Iterable[str] | None = None, open_delegate: bool = False
) -> Table:
    """Build the table of an object that is about to be reachable.

    Methods come from the class and its bases up to but without ObjBase and the standard library's, or from
    the delegate. Where a class uses `@expose`, only what is exposed counts of that class, and of the data
    attributes of its objects only exposed properties.

    Args:
        attributes: the data attributes for the outside; by default all public ones where there is no delegate.
        open_delegate: all public ones of its delegate, too. Source: Pyro 3.16, which asks `delegate or self`.

    Raises:
        DaemonError: `attributes` names something private.
    """
    subject = obj
    direct = isinstance(obj, ObjBase)
    if isinstance(obj, ObjBase) and obj.delegate is not None:
        subject, direct = obj.delegate, False
    methods: dict[str, Method] = {}
    properties: set[str] = set()
    selective = False
    for name, item, whole in _members_of(type(subject)):
        marks = _marks_of(item)
        if whole is not None:
            selective = True
            if not whole and "expose" not in marks:
                continue
        if isinstance(item, property):
            properties.add(name)
        elif _is_method(item):
            # Bound here and not by getattr: what an object's own __dict__ has under that name is no method.
            methods[name] = Method(item.__get__(subject, type(subject)), name, obj, marks)
    names = _checked_names(attributes)
    is_open = direct or open_delegate
    if names is None and is_open and selective:
        names = frozenset(properties)
    hidden = _OBJBASE_STATE if direct or (open_delegate and isinstance(subject, ObjBase)) else frozenset()
    if names is None:
        hidden |= _inherited_names(type(subject))
    holder = subject if is_open or names is not None else None
    return Table(obj, methods, holder, names, hidden, f"'{type(subject).__name__}' object")


def _checked_names(attributes: Iterable[str] | None) -> frozenset[str] | None:
    names = None if attributes is None else frozenset([attributes] if isinstance(attributes, str) else attributes)
    for name in names or ():
        if name.startswith("_"):
            raise DaemonError(f"attributes={name!r}: private names are never reachable from outside")
    return names


def _is_foreign(cls: type) -> bool:
    """Tell whether a class is ObjBase, of its family, or the standard library's."""
    return cls is ObjBase or cls in _OBJBASE_FAMILY or cls.__module__.split(".")[0] in _BY_MODULES


def _members_of(subject: type) -> Iterable[tuple[str, Any, bool | None]]:
    """Go through what the user's classes define under public names and no other class hides.

    With each comes None where its class does not use `@expose`, else whether the whole class is exposed.
    """
    seen: set[str] = set()
    for cls in subject.__mro__:
        if not _is_foreign(cls):
            whole = "expose" in vars(cls).get(_MARK, ())
            selective = whole or any("expose" in _marks_of(item) for item in vars(cls).values())
            for name, item in vars(cls).items():
                if name not in seen and not name.startswith("_"):
                    yield name, item, whole if selective else None
        seen.update(vars(cls))


def _inherited_names(subject: type) -> frozenset[str]:
    """Return the names whose meaning comes from ObjBase or a class of the standard library."""
    names: set[str] = set()
    own: set[str] = set()
    for cls in subject.__mro__:
        if _is_foreign(cls):
            names |= vars(cls).keys() - own
        else:
            own |= vars(cls).keys()
    return frozenset(names)


def _is_method(item: Any) -> bool:
    """Tell whether what a class holds is a method: functions, also compiled or wrapped ones, but no classes."""
    return hasattr(type(item), "__get__") and not isinstance(item, type) and (
        callable(item) or isinstance(item, (classmethod, staticmethod, functools.partialmethod))
    )


def _is_code(value: object) -> bool:
    return callable(value) or isinstance(value, types.ModuleType)


def _marks_of(item: Any) -> frozenset[str]:
    target = item.__func__ if isinstance(item, (staticmethod, classmethod)) else item
    target = target.fget if isinstance(target, property) else target
    if isinstance(target, type):
        return frozenset()  # A class inside a class has marks for itself.
    marks: frozenset[str] = getattr(target, "__dict__", {}).get(_MARK, frozenset())
    return marks


# -- the family ----------------------------------------------------------------------------------------------


class ObjBase:
    """The base of objects that can be called from other processes.

    Inherit from it, or hand any object to `delegateTo`, or pass a plain object to `Daemon.connect`, which
    delegates by itself. Source: Pyro 3 manual, chapter 4, "Create object instances".
    """

    #: Travels as a reference, never as a copy of its state.
    _gpyro_by_reference_ = True

    objectGUID: str
    delegate: object | None

    def __init__(self) -> None:
        self.objectGUID = make_guid()
        self.delegate = None
        self._gpyro_daemon: weakref.ref[Any] | None = None

    def __getattr__(self, name: str) -> Any:
        # A subclass that forgot ObjBase.__init__ gets its state here instead of a riddle later.
        if name in _OBJBASE_STATE:
            ObjBase.__init__(self)
            return self.__dict__[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def GUID(self) -> str:
        """Return the id that names this object within its daemon."""
        return self.objectGUID

    def setGUID(self, guid: str) -> None:
        """Give this object an id of your own choice, before it is connected.

        Raises:
            DaemonError: it is connected already, or the id is empty or over 255 bytes.
        """
        if self.daemon is not None:
            raise DaemonError(f"this object is connected under {self.objectGUID!r}; disconnect it first")
        if not isinstance(guid, str) or not 0 < len(guid.encode()) <= 255:
            raise DaemonError(f"object id {guid!r} is not a text of 1 to 255 bytes")
        self.objectGUID = guid

    def delegateTo(self, delegate: object) -> None:
        """Let another object's public methods be called in place of this one's own."""
        if delegate is self:
            raise DaemonError("an object cannot delegate to itself")
        self.delegate = delegate

    @property
    def daemon(self) -> Any:
        """The daemon that this object is connected to, or None; held weakly, as objects keep none alive."""
        return None if self._gpyro_daemon is None else self._gpyro_daemon()

    @daemon.setter
    def daemon(self, daemon: Any) -> None:
        self._gpyro_daemon = None if daemon is None else weakref.ref(daemon)

    def setPyroDaemon(self, daemon: Any) -> None:
        """Say which daemon this object belongs to, as Pyro's daemons do; `Daemon.connect` does it by itself."""
        self.daemon = daemon

    def getDaemon(self) -> Any:
        """Return the daemon that this object is connected to, or None."""
        return self.daemon

    def getProxy(self) -> Any:
        """Return a proxy for this object, as a caller elsewhere would have it.

        Raises:
            DaemonError: it is not connected to a daemon.
        """
        return seams.make_proxy.get()(self._uri())

    def getAttrProxy(self) -> Any:
        """Like `getProxy`, with attribute access."""
        return seams.make_attr_proxy.get()(self._uri())

    def getLocalStorage(self) -> Any:
        """Return the storage of the running call's connection; `.caller` is the connection.

        Raises:
            DaemonError: it is not connected to a daemon.
        """
        return self._connected_daemon().getLocalStorage()

    def _gotReaped(self) -> None:
        """Called when the daemon removes this unused, nameless object; for subclasses."""

    def _connected_daemon(self) -> Any:
        if self.daemon is None:
            raise DaemonError(f"{type(self).__name__!r} object is not connected to a daemon")
        return self.daemon

    def _uri(self) -> Any:
        return self._connected_daemon().uri_of(self)


class SynchronizedObjBase(ObjBase):
    """Serves one remote call at a time; the others wait for their turn, in the order in which they came.

    A call that comes back to the object while the one inside waits for it goes in at once, so a chain of calls
    does not block itself. What waits too long, or in a ring, is refused: see `gpyro.errors.DeadLockError`. Calls
    that this process makes on the object directly are not synchronized.

    Source: Pyro 3 manual, chapter 4, "Create object instances".
    """


class CallbackObjBase(ObjBase):
    """Tells errors of its methods in the log of its own process too, with their traceback.

    The caller gets them as well, and the connection goes on; Pyro's ended.

    Source: Pyro 3 manual, chapter 7, "Callbacks".
    """


_OBJBASE_STATE = frozenset({"objectGUID", "delegate", "daemon", "_gpyro_daemon"})
_OBJBASE_FAMILY: frozenset[type] = frozenset({SynchronizedObjBase, CallbackObjBase})


def unknown_object(object_id: str) -> UnknownObjectError:
    """Return the error for an id that nothing is connected under."""
    return UnknownObjectError(f"unknown object ID {object_id!r}: nothing is connected under it, or not any more")
