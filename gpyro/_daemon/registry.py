"""Which objects a daemon has connected, under which ids and names; safe from any thread."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterable

from gpyro import hub
from gpyro._connection.serving import attribute_access
from gpyro.access import LET_IN, Rules
from gpyro.errors import DaemonError
from gpyro.names import Reason, naming_error
from gpyro.objects import DAEMON_ID, Method, ObjBase, Table, build_table, unknown_object
from gpyro.uri import PyroURI

__all__ = ["DAEMON_ID", "INTERNAL_NAME", "Entry", "Registry"]

#: The name that object has in `getRegistered()`. Source: Pyro 3.16, observed.
INTERNAL_NAME = "__PYRO_Internal_Daemon"
#: Requests whose methods are remembered by the bytes of their target, before the memory is begun anew.
MAX_REMEMBERED = 10_000


class Entry:
    """One connected object.

    `names` are those that it has here, `registered` those of them that the name server knows from us, each with
    the address that it has there. `rules`
    say who may use it, and `users` are the principals that may use anything of it; None: everybody may use all.
    """

    __slots__ = ("idle_sweeps", "names", "obj", "persistent", "registered", "rules", "table", "users")

    def __init__(self, obj: object, table: Table, rules: Rules | None = None) -> None:
        self.obj = obj
        self.table = table
        self.apply(rules)
        self.names: list[str] = []
        self.persistent: set[str] = set()
        self.registered: dict[str, PyroURI] = {}
        #: Sweeps since somebody last looked a method of it up.
        self.idle_sweeps = 0

    def __repr__(self) -> str:
        return f"<Entry {self.table.description}, {self.rules or 'no rules'}>"

    def apply(self, rules: Rules | None) -> None:
        """Let these rules hold from now on, also for methods that connections remember."""
        self.rules = rules
        self.users: frozenset[str] | None = None
        if rules is not None:
            known = self.table.methods.keys() | self.table.attribute_names()
            self.users = rules.users(known.__contains__)
        for method in self.table.methods.values():
            method.allowed = None if rules is None else rules.callers(method.name)

    def check(self, rules: Rules) -> None:
        """See that the object has all names that rules grant.

        Raises:
            DaemonError: it has not.
        """
        rules.check(self.table.methods, self.table.attribute_names(), self.table.description)

    def attribute(self, access: int, name: str) -> Method:
        """Return a method that reads (1) or writes (2) an attribute, for those who may.

        Whether a method has that name may be asked by who may call it.
        """
        method = attribute_access(self.table, access, name)
        if self.rules is not None:
            known = self.table.methods.get(name)
            if access == 1:
                method.allowed = self.rules.readers(name) if known is None else known.allowed
            else:
                method.allowed = self.rules.writers(name)
        return method


class Registry:
    """The connected objects of one daemon.

    `methods` remembers what the bytes of a request's target stand for; it is emptied when an object leaves.
    `rules` hold for every object without rules of its own.

    Args:
        open_delegates: what an object was told to delegate to (`delegateTo`) shows its data attributes, too.
    """

    def __init__(self, open_delegates: bool = False) -> None:
        self._open_delegates = open_delegates
        self.rules: Rules | None = None
        self._entries: dict[str, Entry] = {}
        self._ids_of_names: dict[str, str] = {}
        self._wrappers: weakref.WeakValueDictionary[int, ObjBase] = weakref.WeakValueDictionary()
        self._lock = hub.NativeLock()
        self.methods: dict[bytes, Method] = {}

    def __repr__(self) -> str:
        return f"<Registry of {len(self)} objects>"

    def __len__(self) -> int:
        return sum(1 for object_id in self._entries if object_id != DAEMON_ID)

    def connect(
        self, obj: ObjBase, object_id: str, name: str | None, attributes: Iterable[str] | None = None,
        persistent: bool = False, rules: Rules | None = None,
    ) -> Entry:  # fmt: skip
        """Add an object, or another name of one that is there, whose rules are checked and not changed.

        Raises:
            DaemonError: another object has that id, or the rules grant what the object does not have.
            NamingError: another object has that name here.
        """
        with self._lock:
            entry = self._entries.get(object_id)
            if entry is not None and entry.obj is not obj:
                raise DaemonError(f"another object is connected under the id {object_id!r}")
            if name is not None and self._ids_of_names.get(name, object_id) != object_id:
                raise naming_error(Reason.NAME_EXISTS, name, ": another object of this daemon has it")
            known = entry or Entry(
                obj, build_table(obj, attributes, self._open_delegates and not self._is_wrapper(obj)),
                self.rules if rules is None else rules,
            )  # fmt: skip
            if rules is not None:
                known.check(rules)
            entry = self._entries[object_id] = known
            if name is not None:
                self._ids_of_names[name] = object_id
                if name not in entry.names:
                    entry.names.append(name)
                if persistent:
                    entry.persistent.add(name)
            return entry

    def disconnect(self, object_id: str) -> Entry:
        """Take an object out.

        Raises:
            KeyError: there is none.
        """
        with self._lock:
            if object_id not in self._entries:
                raise KeyError(f"no object is connected under {object_id!r}")
            entry = self._entries.pop(object_id)
            for name in entry.names:
                self._ids_of_names.pop(name, None)
            self.methods.clear()
            return entry

    def discard(self, obj: ObjBase) -> None:
        """Take an object out if it is there."""
        entry = self._entries.get(obj.GUID())
        if entry is not None and entry.obj is obj:
            self.disconnect(obj.GUID())

    def note_registered(self, object_id: str, name: str, uri: PyroURI) -> None:
        """The name server knows this name from us; it is ours to take out."""
        with self._lock:
            entry = self._entries.get(object_id)
            if entry is not None:
                entry.registered[name] = uri

    def forget_name(self, object_id: str, name: str) -> None:
        """The name server did not take this name, unless it has it from us already."""
        with self._lock:
            entry = self._entries.get(object_id)
            if entry is not None and name in entry.names and name not in entry.registered:
                entry.names.remove(name)
                entry.persistent.discard(name)
                self._ids_of_names.pop(name, None)

    def disconnect_all(self) -> None:
        """Take all objects out, but the daemon's own."""
        for object_id in self.ids():
            try:
                entry = self.disconnect(object_id)
            except KeyError:
                continue  # Another thread was faster.
            if isinstance(entry.obj, ObjBase):
                entry.obj.daemon = None

    def wrapper_of(self, obj: object) -> ObjBase:
        """Return the ObjBase that stands for a plain object, made when it is first connected."""
        wrapper = self._wrappers.get(id(obj))
        if wrapper is None or wrapper.delegate is not obj:
            wrapper = ObjBase()
            wrapper.delegateTo(obj)
            self._wrappers[id(obj)] = wrapper
        return wrapper

    def _is_wrapper(self, obj: ObjBase) -> bool:
        return self._wrappers.get(id(obj.delegate)) is obj

    def find(
        self, target: bytes, access: int, object_id: str, name: str, principals: frozenset[str] = LET_IN
    ) -> Method:
        """Return what a request is for; whether its caller, known by `principals`, may do that is asked later.

        Raises:
            UnknownObjectError, AttributeError: it is for nothing.
        """
        entry = self._entries.get(object_id)
        if entry is None:
            raise unknown_object(object_id)
        entry.idle_sweeps = 0
        if access:
            return entry.attribute(access, name)
        method = entry.table.methods.get(name)
        if method is None and entry.users is not None and entry.users.isdisjoint(principals):
            # Who may call nothing here is not told either what there is; the table's own error would tell.
            return _nothing(name, entry.obj)
        method = entry.table.find(name)
        with self._lock:
            # Looked up again under the lock: a disconnect since then must not be forgotten.
            if self._entries.get(object_id) is entry:
                if len(self.methods) >= MAX_REMEMBERED:
                    self.methods.clear()
                self.methods[target] = method
        return method

    def sweep(self, busy: Collection[int], limit: int) -> list[str]:
        """Return the ids of nameless objects that were not used for `limit` sweeps in a row.

        `busy` are the id() of objects that calls are running on. What requests stand for is forgotten, so that
        each object that is used is looked up, and noticed, at least once until the next sweep.
        """
        with self._lock:
            self.methods.clear()
            unused = []
            for object_id, entry in self._entries.items():
                entry.idle_sweeps = 0 if id(entry.obj) in busy else entry.idle_sweeps + 1
                if not entry.names and object_id != DAEMON_ID and entry.idle_sweeps > limit:
                    unused.append(object_id)
            return unused

    def ids(self) -> list[str]:
        """Return the ids of the connected objects, without the daemon's own."""
        return [object_id for object_id in list(self._entries) if object_id != DAEMON_ID]

    def listing(self) -> dict[str, str | None]:
        """Return the ids with a name each, or None."""
        return {key: (entry.names[0] if entry.names else None) for key, entry in list(self._entries.items())}

    def id_of_name(self, name: str) -> str:
        """Return the id of the object connected under exactly this name.

        Raises:
            NamingError: there is none.
        """
        try:
            return self._ids_of_names[name]
        except KeyError:
            raise naming_error(
                Reason.NAME_NOT_FOUND, name, ": no object was connected to this daemon under exactly this name"
            ) from None

    def has_names(self) -> bool:
        """Tell whether `take_names` would return any."""
        return any(entry.registered.keys() - entry.persistent for entry in list(self._entries.values()))

    def take_names(self) -> dict[str, PyroURI]:
        """Return the names to unregister at the end, once: those registered and not persistent; with addresses."""
        with self._lock:
            names = {}
            for entry in self._entries.values():
                for name in [name for name in entry.registered if name not in entry.persistent]:
                    names[name] = entry.registered.pop(name)
            return names


def _nothing(name: str, owner: object) -> Method:
    """Return a method that nobody may call, so that the caller is told the same as for one that there is."""
    method = Method(owner.__repr__, name, owner)
    method.allowed = frozenset()
    return method
