"""Exceptions: what travels of one, and how it is built again.

The payload is an array of eleven; its parts are the fields of `_Parts`. Arguments and attributes are packed one by
one, so that one that cannot be read at the receiver does not take the exception with it.

An exception arrives as itself when its class is one of Python's own, of `gpyro.errors`, registered, or of the
standard library's that are listed (`library_errors`); else as a
subclass of RemoteError that is made here and carries the name. What is no Exception (KeyboardInterrupt,
SystemExit, GeneratorExit, CallCancelled) would end the caller's program or greenlet, and arrives as a RemoteError
as well.
No `__init__` of a user's class runs.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import ormsgpack

from .. import errors
from ..errors import NoModuleError, RemoteError, SerializationError
from ..util import bounded_lines, is_remote_note, remote_note
from .library_errors import can_be_shown, find_library_error
from .limits import Extension, Refused, Unpacker, describe
from .registry import BY_CLASS, EXCEPTION_NAMES, EXCEPTIONS, builtin_base
from .standard import broken, decodes

__all__ = ["encode_exception"]

Ext = ormsgpack.Ext

_CHAIN_DEPTH = 8  # of __cause__, __context__ and groups inside groups
_MAX_EXCEPTIONS = 1000  # in one chain or group; more are left out
_MAX_TEXT = 65536  # characters of a message, a note or one line of a traceback
_MAX_CLASSES = 1000  # made here for remote names; later ones arrive as plain RemoteError
_CLASS_NAME = re.compile(r"[^\W\d]\w*(\.(<locals>|[^\W\d]\w*))*")

#: Attributes that live in C structures, not in args or __dict__.
_C_ATTRIBUTES: list[tuple[type[BaseException], tuple[str, ...]]] = [
    (ImportError, ("name", "path")),
    (NameError, ("name",)),
    (AttributeError, ("name",)),
]


class _Parts(NamedTuple):
    name: str
    text: str
    args: list[bytes]
    attributes: dict[str, bytes]
    stack: list[str] | None
    notes: list[str] | None
    cause: Any
    context: Any
    suppress_context: bool
    members: list[Any] | None
    whole: Any


class FaultPacker(Protocol):
    """What encoding an exception needs of the walk."""

    exceptions: dict[int, BaseException]

    def walk(self, value: Any) -> Any: ...

    def attempt(self, value: Any) -> bytes | None: ...

    def deeper(self, make: Callable[[], Any]) -> Any: ...

    def sends_whole(self, kind: type) -> bool: ...


def _enter_known() -> None:
    for source in (vars(builtins), {name: vars(errors)[name] for name in errors.__all__}):
        for cls in source.values():
            if isinstance(cls, type) and issubclass(cls, Exception):
                name = f"{cls.__module__}.{cls.__qualname__}"
                EXCEPTIONS[name] = cls
                EXCEPTION_NAMES[cls] = name


_enter_known()


# Sending


def encode_exception(exc: BaseException, packer: FaultPacker, stack: list[str] | None, depth: int = 0) -> Ext:
    """Return the extension for one exception and what hangs on it.

    Args:
        exc: the exception.
        packer: the walk that encodes the message.
        stack: lines of its traceback at this side, or None to send none. Lines that came with it from a
            further side follow them.
        depth: links of the chain above this one.
    """
    if depth == 0:
        packer.exceptions = {}
    packer.exceptions[id(exc)] = exc

    def link(other: BaseException | None) -> Any:
        full = depth >= _CHAIN_DEPTH or len(packer.exceptions) >= _MAX_EXCEPTIONS
        if other is None or full or id(other) in packer.exceptions:
            return None
        return packer.deeper(lambda: encode_exception(other, packer, None if stack is None else [], depth + 1))

    members = getattr(exc, "exceptions", None) if _is_group(exc) else None
    parts = _Parts(
        name=_wire_name(exc),
        text=_clean(_text_of(exc)),
        args=[_blob(arg, packer) for arg in _args_of(exc)],
        attributes=_attributes_of(exc, packer),
        stack=_stack_of(exc, stack),
        notes=_notes_of(exc),
        cause=link(exc.__cause__),
        context=None if exc.__suppress_context__ else link(exc.__context__),
        suppress_context=exc.__suppress_context__,
        members=None if members is None else [part for part in map(link, members) if part is not None],
        whole=_whole(exc, packer),
    )
    return Ext(Extension.EXCEPTION, ormsgpack.packb([*parts]))


def _whole(exc: BaseException, packer: FaultPacker) -> Any:
    """Return the object itself for a class registered with to_state, which then is all that is needed."""
    if type(exc) not in BY_CLASS:
        return None
    try:
        return packer.walk(exc)
    except Refused:
        return None


def _is_group(exc: BaseException) -> bool:
    group = getattr(builtins, "BaseExceptionGroup", None)
    return group is not None and isinstance(exc, group)


def _wire_name(exc: BaseException) -> str:
    known = EXCEPTION_NAMES.get(type(exc))
    if known is not None and type(exc) is not RemoteError:
        return known
    if isinstance(exc, RemoteError) and exc.remote_type:
        return _clean(exc.remote_type)
    return _clean(f"{type(exc).__module__}.{type(exc).__qualname__}")


def _clean(text: object) -> str:
    """Return text that can always be packed: at most so long, lone surrogates shown as escapes."""
    text = str(text)[:_MAX_TEXT]
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _text_of(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception:
        return f"<{type(exc).__qualname__} whose str fails>"


def _lines(lines: Iterable[object]) -> list[str]:
    return [_clean(line) for line in lines]


def _args_of(exc: BaseException) -> tuple[Any, ...]:
    if isinstance(exc, OSError) and exc.filename is not None:
        # args holds only errno and strerror then; the fourth is Windows' own error number.
        return (exc.errno, exc.strerror, exc.filename, None, exc.filename2)
    if _is_group(exc):
        return exc.args[:1]  # the message; the members travel as such
    return exc.args


def _blob(value: Any, packer: FaultPacker) -> bytes:
    packed = packer.attempt(value)
    return ormsgpack.packb(_clean(describe(value, 500))) if packed is None else packed


def _attributes_of(exc: BaseException, packer: FaultPacker) -> dict[str, bytes]:
    found = dict(getattr(exc, "__dict__", None) or {})
    for cls, names in _C_ATTRIBUTES:
        if isinstance(exc, cls):
            found.update({name: getattr(exc, name) for name in names if getattr(exc, name, None) is not None})
    whole = packer.sends_whole(type(exc))
    packed = {
        name: packer.attempt(value)
        for name, value in found.items()
        if type(name) is str and name.isidentifier() and name not in _OWN_ATTRIBUTES
        if not name.startswith("_") or (whole and not name.startswith("__"))
    }
    return {name: blob for name, blob in packed.items() if blob is not None}


_OWN_ATTRIBUTES = frozenset(("args", "remote_stacktrace", "remote_type", "exceptions"))


def _stack_of(exc: BaseException, stack: list[str] | None) -> list[str] | None:
    if stack is None:
        return None
    further = getattr(exc, "remote_stacktrace", None)
    # Each hop adds its own, so that not one but all of them together are bounded.
    return bounded_lines(_lines([*stack, *(further if isinstance(further, list) else ())])) or None


def _notes_of(exc: BaseException) -> list[str] | None:
    notes = getattr(exc, "__notes__", None)
    if not isinstance(notes, list):
        return None
    # That of the remote traceback is made anew at each hop.
    return _lines(note for note in notes if not is_remote_note(note)) or None


# Receiving


@decodes(Extension.EXCEPTION)
def _decode_exception(payload: bytes, level: Unpacker) -> BaseException:
    level.defer()
    fields = level.unpack(payload)
    if type(fields) is not list or len(fields) != len(_Parts._fields):
        raise broken("exception", fields)
    parts = _Parts(*fields)
    _check(parts)
    exc: BaseException = parts.whole or _build(parts, level)
    exc.__cause__ = parts.cause
    exc.__context__ = parts.context
    exc.__suppress_context__ = parts.suppress_context
    notes = list(parts.notes or ())
    # Into __dict__: a class of the user's may have a __setattr__ of its own.
    if parts.stack:
        exc.__dict__["remote_stacktrace"] = parts.stack
        notes.append(remote_note(map(_ended, parts.stack)))
    if notes:
        exc.__dict__["__notes__"] = notes
    return exc


def _ended(line: str) -> str:
    return line if line.endswith("\n") else line + "\n"


def _check(parts: _Parts) -> None:
    good = (
        type(parts.name) is str
        and type(parts.text) is str
        and type(parts.args) is list
        and type(parts.attributes) is dict
        and _all_are(bytes, parts.args)
        and _all_are(bytes, parts.attributes.values())
        and (parts.stack is None or (type(parts.stack) is list and _all_are(str, parts.stack)))
        and (parts.notes is None or (type(parts.notes) is list and _all_are(str, parts.notes)))
        and all(isinstance(link, BaseException | None) for link in (parts.cause, parts.context, parts.whole))
        and type(parts.suppress_context) is bool
        and (
            parts.members is None
            or (type(parts.members) is list and all(isinstance(m, Exception) for m in parts.members))
        )
    )
    if not good:
        raise broken("exception", [*parts])


def _all_are(cls: type, values: Iterable[Any]) -> bool:
    return all(type(value) is cls for value in values)


def _build(parts: _Parts, level: Unpacker) -> BaseException:
    args = [_read(blob, level) for blob in parts.args]
    attributes = {name: _read(blob, level) for name, blob in parts.attributes.items()}
    cls = EXCEPTIONS.get(parts.name)
    if cls is None:
        library = find_library_error(parts.name)
        cls = library if library is not None and can_be_shown(library, attributes) else None
    strange = None if cls is not None else level.strange_exception(parts.name)
    if strange is not None and not can_be_shown(strange, attributes):
        strange = None
    if parts.name == "builtins.BaseExceptionGroup":
        cls = EXCEPTIONS.get("builtins.ExceptionGroup")  # its members are Exceptions by now
    known = cls or strange
    exc = None if known is None else _make_known(known, args, parts.members)
    if exc is None:
        exc = _make_remote(parts, args)
    _put_attributes(exc, attributes, type(exc) is strange)
    return exc


def _read(blob: bytes, level: Unpacker) -> Any:
    try:
        return level.unpack(blob)
    except (NoModuleError, SerializationError) as exc:
        return f"<{exc}>"


def _make_known(cls: type[BaseException], args: list[Any], members: list[Any] | None) -> BaseException | None:
    """Build an exception through its built-in base; None when the arguments do not fit it."""
    base = builtin_base(cls)
    if members is not None:
        args = [*args[:1], members]
    try:
        exc = base.__new__(cls, *args)
        base.__init__(exc, *args)  # type: ignore[misc]
    except Exception:
        return None
    return exc if isinstance(exc, BaseException) else None


_made: dict[str, type[RemoteError]] = {}


def _make_remote(parts: _Parts, args: list[Any]) -> RemoteError:
    exc = _remote_class(parts.name)(*args)
    exc.remote_type = parts.name
    exc._remote_text = parts.text  # type: ignore[attr-defined]
    if parts.members:
        exc.exceptions = tuple(parts.members)  # type: ignore[attr-defined]
    return exc


def _remote_class(name: str) -> type[RemoteError]:
    known = _made.get(name)
    if known is not None:
        return known
    if len(_made) >= _MAX_CLASSES or len(name) > 200 or not _CLASS_NAME.fullmatch(name):
        return _UnnamedError
    module, _, short = name.rpartition(".")
    # "builtins" is not shown by a traceback print, and would make a RemoteError look like the real one.
    module = "remote" if module == "builtins" else module
    made = type(short, (_UnnamedError,), {"remote_type": name, "__module__": module, "__doc__": None})
    return _made.setdefault(name, made)


class _UnnamedError(RemoteError):
    """Something the remote object raised; its class is not known on this side."""

    _remote_text = ""

    def __str__(self) -> str:
        return self._remote_text or super().__str__()

    def __repr__(self) -> str:
        # The class's name alone would pass for the class itself.
        shown = ": ".join(filter(None, (self.remote_type, str(self))))
        return f"RemoteError({shown!r})"


_UnnamedError.__name__ = _UnnamedError.__qualname__ = "RemoteError"
_UnnamedError.__module__ = RemoteError.__module__


def _put_attributes(exc: BaseException, attributes: dict[str, Any], whole: bool) -> None:
    in_c = {name: cls for cls, names in _C_ATTRIBUTES if isinstance(exc, cls) for name in names}
    for name, value in attributes.items():
        is_plain = name.isidentifier() and not name.startswith("__" if whole else "_")
        if name in _OWN_ATTRIBUTES or not is_plain or callable(getattr(type(exc), name, None)):
            continue
        if name in in_c:
            getattr(in_c[name], name).__set__(exc, value)
        else:
            exc.__dict__[name] = value
