"""Exceptions of the standard library that arrive as themselves, so that `except queue.Full` works at the caller.

A fixed list. Each is looked up by its name alone, in a module that this side has imported already: what a peer
names never imports anything, and who catches a class has its module. Those that are listed are made of their
arguments and plain attributes. Not listed are those that hold files or other objects (urllib.error.HTTPError,
tarfile.FilterError), and smtplib's, which are no OSErrors but by name: they arrive as a RemoteError.
"""

from __future__ import annotations

from .program import find_module, module_space

__all__ = ["can_be_shown", "find_library_error", "is_library_error"]

_LISTED = {
    "asyncio.exceptions": (
        "BrokenBarrierError IncompleteReadError InvalidStateError LimitOverrunError TimeoutError"
    ),
    "asyncio.queues": "QueueEmpty QueueFull QueueShutDown",
    "binascii": "Error Incomplete",
    "concurrent.futures._base": "BrokenExecutor CancelledError Error InvalidStateError TimeoutError",
    "concurrent.futures.process": "BrokenProcessPool",
    "concurrent.futures.thread": "BrokenThreadPool",
    "configparser": (
        "DuplicateOptionError DuplicateSectionError Error InterpolationDepthError InterpolationError "
        "InterpolationMissingOptionError InterpolationSyntaxError MissingSectionHeaderError "
        "MultilineContinuationError NoOptionError NoSectionError ParsingError"
    ),
    "copy": "Error",
    "csv": "Error",
    "dataclasses": "FrozenInstanceError",
    "decimal": (
        "Clamped ConversionSyntax DecimalException DivisionByZero DivisionImpossible DivisionUndefined "
        "FloatOperation Inexact InvalidContext InvalidOperation Overflow Rounded Subnormal Underflow"
    ),
    "email.errors": "BoundaryError CharsetError HeaderParseError MessageError MessageParseError",
    "ftplib": "Error error_perm error_proto error_reply error_temp",
    "getopt": "GetoptError",
    "http.client": (
        "BadStatusLine CannotSendHeader CannotSendRequest HTTPException ImproperConnectionState IncompleteRead "
        "InvalidURL LineTooLong NotConnected RemoteDisconnected ResponseNotReady UnknownProtocol "
        "UnknownTransferEncoding"
    ),
    "io": "UnsupportedOperation",
    "ipaddress": "AddressValueError NetmaskValueError",
    "json.decoder": "JSONDecodeError",
    "locale": "Error",
    "lzma": "LZMAError",
    "multiprocessing.context": "AuthenticationError BufferTooShort ProcessError TimeoutError",
    "poplib": "error_proto",
    "queue": "Empty Full ShutDown",
    "re": "error",
    "shutil": "Error ExecError ReadError RegistryError SameFileError SpecialFileError",
    "socket": "gaierror herror",
    "sqlite3": (
        "DataError DatabaseError Error IntegrityError InterfaceError InternalError NotSupportedError "
        "OperationalError ProgrammingError Warning"
    ),
    "ssl": (
        "SSLCertVerificationError SSLEOFError SSLError SSLSyscallError SSLWantReadError SSLWantWriteError "
        "SSLZeroReturnError"
    ),
    "statistics": "StatisticsError",
    "struct": "error",
    "subprocess": "CalledProcessError SubprocessError TimeoutExpired",
    "tarfile": "CompressionError ExtractError HeaderError ReadError StreamError TarError",
    "threading": "BrokenBarrierError",
    "tomllib": "TOMLDecodeError",
    "urllib.error": "URLError",
    "xml.etree.ElementTree": "ParseError",
    "xml.parsers.expat": "ExpatError",
    "zipfile": "BadZipFile LargeZipFile",
    "zlib": "error",
    "zoneinfo._common": "ZoneInfoNotFoundError",
}

#: Where each wire name is found. A class travels under its module and qualified name, which are not the same in
#: all Pythons, nor those under which programs know it: both names of these are taken.
_PLACES = {f"{module}.{name}": (module, name) for module, names in _LISTED.items() for name in names.split()}
_PLACES |= {
    "_csv.Error": ("csv", "Error"),
    "_lzma.LZMAError": ("lzma", "LZMAError"),
    "_queue.Empty": ("queue", "Empty"),
    "re.PatternError": ("re", "error"),  # Python 3.13; both names are there
    "tomllib._parser.TOMLDecodeError": ("tomllib", "TOMLDecodeError"),
    "xml.parsers.expat.ExpatError": ("pyexpat", "ExpatError"),
}

_OWN = frozenset(_PLACES) | {"builtins.TimeoutError"}  # from Python 3.11 that of asyncio and futures

#: What the `__str__` of these reads, which `__init__` would have set, and of which types it has to be for that.
_SHOWN: dict[str, dict[str, tuple[type, ...]]] = {
    "configparser.Error": {"message": (str,)},
    "getopt.GetoptError": {"msg": (str,)},
    "http.client.IncompleteRead": {"partial": (bytes,), "expected": (int, type(None))},
    "subprocess.CalledProcessError": {"returncode": (int,), "cmd": (object,)},
    "subprocess.TimeoutExpired": {"cmd": (object,), "timeout": (object,)},
    "urllib.error.URLError": {"reason": (str, Exception)},
}


def find_library_error(name: str) -> type[Exception] | None:
    """Return the class of a wire name; None where it is not listed, or its module is not imported here."""
    module_name, attribute = _PLACES.get(name, ("", ""))
    module = find_module(module_name)
    found = None if module is None else module_space(module).get(attribute)
    # A module of the program's own may have the name of one of the library.
    if type(found) is not type or not issubclass(found, Exception):
        return None
    return found if f"{found.__module__}.{found.__qualname__}" in _OWN else None


def is_library_error(cls: type) -> bool:
    """Say whether this is a class that arrives as itself."""
    return find_library_error(f"{cls.__module__}.{cls.__qualname__}") is cls


def can_be_shown(cls: type, attributes: dict[str, object]) -> bool:
    """Say whether `str` works for an exception with these attributes: those that it reads are there, and fit."""
    needed = [_SHOWN.get(f"{base.__module__}.{base.__qualname__}", {}) for base in cls.__mro__]
    return all(
        name in attributes and isinstance(attributes[name], types)
        for names in needed for name, types in names.items()
    )  # fmt: skip
