"""Addresses of objects: parsed, checked and written, never looked up.

    PYRO://host:port/objectid           an object; the port may be left out
    PYROLOC://host:port/name            an object by the name that its daemon gave it
    PYRONAME://name                     an object by its name in the name server
    PYRONAME://host:port/name           the same, in the name server at that place; the port may be left out
    PYROSSL:// and PYROLOCSSL://        as PYRO:// and PYROLOC://, over TLS

A host is a name, an IPv4 address, an IPv6 address in brackets (`[::1]`), or the unix socket `./u:PATH`,
whose absolute path is percent-encoded: `PYRO://./u:%2Frun%2Fgpyro.sock/objectid`.

Where Pyro 3 replaces the host by its IP address as soon as it sees it, nothing is resolved here: that would
be a question to a name service in the middle of reading a message. Who publishes an address decides
(dns_uri).

Source: Pyro 3 manual, chapter 4, "Find object URIs", and chapter 7.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, Literal, NoReturn, TypeVar

from gpyro import names, seams
from gpyro.configuration import config
from gpyro.errors import NamingError, URIError

T = TypeVar("T")

__all__ = ["Endpoint", "PyroURI", "build_unix_address", "build_uri", "parse_uri"]

#: What to connect to; hashable, so that it can be a key.
Endpoint = tuple[Literal["tcp"], str, int] | tuple[Literal["unix"], str]

#: Protocols whose address says where the object is, with its id or the name that its daemon knows.
DIRECT_PROTOCOLS = ("PYRO", "PYROLOC", "PYROSSL", "PYROLOCSSL")
PROTOCOLS = (*DIRECT_PROTOCOLS, "PYRONAME")
#: TLS on a unix socket would only hide a file from its own machine.
UNIX_PROTOCOLS = ("PYRO", "PYROLOC", "PYRONAME")

FORMS = (
    "PYRO://host:port/objectid, PYROLOC://host:port/name, PYRONAME://[host[:port]/]name, "
    "PYRO://./u:%2Fsocket%2Fpath/objectid"
)

#: Longest object id or PYROLOC name, in bytes of UTF-8; GUIDs have 32, names in a name server up to 255.
MAX_OBJECT_ID_BYTES = 255
#: The C field sun_path has 108 bytes on Linux, one of them for the end.
MAX_UNIX_PATH_BYTES = 107
#: Source: RFC 1035, section 2.3.4, in its text form.
MAX_HOST_LENGTH = 253
#: Longer texts are no addresses; cut in messages.
MAX_SHOWN = 120

UNIX_PREFIX = "./u:"

HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?", re.ASCII)
ZONE = re.compile(r"[A-Za-z0-9_.-]{1,15}", re.ASCII)
PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
#: How Pyro 4 and 5 write them.
LATER_PYRO = re.compile(r"PYRO(?:NAME|META)?:(?!//)")


class PyroURI:
    """One address. It never changes, can be a dict key, and equals an address or a text that reads the same.

    `PyroURI(text)` parses, `PyroURI(uri)` copies, `PyroURI(host, objectID, port, prtcol)` builds, as in Pyro.

    Attributes:
        protocol: one of PROTOCOLS.
        address: the host as in the text, without brackets; for PYRONAME without a host "".
        port: 1 to 65535; None for a unix socket, and for PYRONAME when the text gives none. For the other
            forms a missing port is `config.port` of this process, as in Pyro.
        objectID: the object's id; the name for PYROLOC and PYRONAME.

    Raises:
        URIError: this is no address; the message names the text, what is wrong and the forms.
    """

    __slots__ = ("_hash", "_text", "address", "objectID", "port", "protocol")

    protocol: str
    address: str
    port: int | None
    objectID: str
    _text: str
    _hash: int

    def __init__(
        self, host: str | PyroURI, objectID: str | None = None, port: int | None = 0, prtcol: str = "PYRO"
    ) -> None:
        if isinstance(host, PyroURI):
            parts = (host.protocol, host.address, host.port, host.objectID)
        elif objectID is None:
            parts = _Reader(host).read()
        else:
            parts = _check_given(prtcol, host, port, objectID)
        self._fill(*parts)

    def _fill(self, protocol: str, address: str, port: int | None, objectID: str) -> None:
        text = _write(protocol, address, port, objectID)
        fields = {
            "protocol": protocol, "address": address, "port": port, "objectID": objectID,
            "_text": text, "_hash": hash(text),
        }  # fmt: skip
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    # -- where it leads

    @property
    def is_unix(self) -> bool:
        """Whether it leads to a unix socket."""
        return self.address.startswith(UNIX_PREFIX)

    @property
    def unix_path(self) -> str | None:
        """The path of the unix socket, decoded; None when it leads elsewhere."""
        return _decode_path(self.address[len(UNIX_PREFIX) :]) if self.is_unix else None

    @property
    def endpoint(self) -> Endpoint:
        """What to connect to: ("tcp", host, port) or ("unix", path).

        For PYRONAME that is the name server; a port that the text does not give is `config.ns_port`.

        Raises:
            URIError: it is a PYRONAME without a host, which a name server has to be looked for first.
        """
        path = self.unix_path
        if path is not None:
            return ("unix", path)
        if not self.address:
            raise URIError(f"{self._text!r} names no host; ask a name server for it first")
        return ("tcp", self.address, config.ns_port if self.port is None else self.port)

    def getProxy(self) -> Any:
        """Return a proxy for the object behind it; it connects when it is first used."""
        return seams.make_proxy.get()(self)

    def getAttrProxy(self) -> Any:
        """Return a proxy that reaches the object's attributes too."""
        return seams.make_attr_proxy.get()(self)

    # -- as a value

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"<PyroURI {self._text}>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PyroURI):
            return self._text == other._text
        return self._text == other if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return self._hash

    def __lt__(self, other: PyroURI) -> bool:
        return self._text < other._text if isinstance(other, PyroURI) else NotImplemented

    def __copy__(self) -> PyroURI:
        return self

    def __deepcopy__(self, memo: object) -> PyroURI:
        return self

    def __reduce__(self) -> tuple[type[PyroURI], tuple[str]]:
        return (PyroURI, (self._text,))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{name} of {self._text} cannot be set: an address does not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name} of {self._text} cannot be deleted: an address does not change")


def parse_uri(text: str) -> PyroURI:
    """Parse an address; the forms stand at the top of this module.

    Raises:
        URIError: the text is not one of the forms.
    """
    return PyroURI(text)


def build_uri(protocol: str, address: str, port: int | None, object_id: str) -> str:
    """Write an address from its parts; `parse_uri` gives them back.

    Args:
        protocol: one of PROTOCOLS.
        address: a host name, an IPv4 or IPv6 address, `./u:` and a percent-encoded path, or for PYRONAME "".
        port: None or 0 where there is none.
        object_id: the id or the name.

    Raises:
        URIError: the parts do not make an address.
    """
    return str(PyroURI(address, object_id, port, protocol))


def build_unix_address(path: str | os.PathLike[str]) -> str:
    """Write the `address` of a unix socket: `/run/a b` gives `./u:%2Frun%2Fa%20b`.

    Raises:
        URIError: the path is relative or too long for a socket.
    """
    try:
        return UNIX_PREFIX + _encode_path(_check_path(os.fspath(path)))
    except _Fault as fault:
        raise URIError(f"the unix socket {os.fspath(path)!r} {fault}") from None


# -- reading --------------------------------------------------------------------------------------------

Parts = tuple[str, str, "int | None", str]


def _shown(text: str) -> str:
    return repr(text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "...")


class _Reader:
    """Reads one text into (protocol, address, port, object id); it knows the text for the messages."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise URIError(f"an address is text like {FORMS}; this is {text!r}")
        self.text = text

    def read(self) -> Parts:
        protocol, separator, rest = self.text.partition("://")
        if not separator:
            self._fail_without_scheme()
        if protocol not in PROTOCOLS:
            self._fail_protocol(protocol, rest)
        location, slash, object_id = self._split(rest)
        if protocol == "PYRONAME":
            return self._read_pyroname(rest, location, slash, object_id)
        if not slash:
            self._fail(f"has no '/' and no {_kind_of_id(protocol)} behind the host")
        address, port = self._read_location(protocol, location)
        if port is None and not address.startswith(UNIX_PREFIX):
            port = config.port
        return protocol, address, port, self._guard(_check_object_id, protocol, object_id)

    def _split(self, rest: str) -> tuple[str, str, str]:
        """Split `host:port/id`; the first slash of `./u:path/id` belongs to the host."""
        start = len("./") if rest.startswith(UNIX_PREFIX) else 0
        location, slash, object_id = rest[start:].partition("/")
        return rest[:start] + location, slash, object_id

    def _read_pyroname(self, rest: str, location: str, slash: str, name: str) -> Parts:
        if not slash:
            if self._is_location(rest):
                self._fail(f"has no name behind the host; PYRONAME://{rest}/:Group.object has one")
            return "PYRONAME", "", None, self._guard(_check_name, rest)
        address, port = self._read_location("PYRONAME", location)
        return "PYRONAME", address, port, self._guard(_check_name, name)

    def _is_location(self, rest: str) -> bool:
        host, colon, port = rest.rpartition(":")
        # A name may begin with a bracket, but has no colon behind it.
        is_ipv6 = rest.startswith("[") and ":" in rest
        return bool(colon and host and PORT.fullmatch(port)) or is_ipv6 or rest.startswith(UNIX_PREFIX)

    def _read_location(self, protocol: str, location: str) -> tuple[str, int | None]:
        if location.startswith(UNIX_PREFIX):
            return self._guard(_check_unix_address, protocol, location), None
        if location.startswith("["):
            host, bracket, tail = location[1:].partition("]")
            if not bracket or tail[:1] not in ("", ":"):
                self._fail("needs a ']' between the IPv6 address and the port")
            return self._guard(_check_ipv6, host), self._read_port(tail[:1], tail[1:])
        if location.count(":") > 1:
            self._fail("has more than one ':' in its host; an IPv6 address goes in brackets, like [::1]:7766")
        host, colon, port = location.partition(":")
        return self._guard(_check_host, host), self._read_port(colon, port)

    def _read_port(self, colon: str, port: str) -> int | None:
        if not colon:
            return None
        if not PORT.fullmatch(port):
            self._fail(f"has the port {_shown(port)}; a port is a number from 1 to 65535")
        return self._guard(_check_port, int(port))

    def _guard(self, check: Callable[..., T], *values: object) -> T:
        """Run a check, and put the whole text in front of what it says."""
        try:
            return check(*values)
        except _Fault as fault:
            self._fail(str(fault))

    def _fail(self, what: str) -> NoReturn:
        raise URIError(f"address {_shown(self.text)} {what}; addresses look like {FORMS}")

    def _fail_without_scheme(self) -> NoReturn:
        if LATER_PYRO.match(self.text):
            self._fail("is written as in Pyro 4 and 5, where the object comes first and no // follows")
        if not self.text:
            self._fail("is empty")
        try:
            name = names.validate_name(self.text)
        except NamingError:
            self._fail("has no '://' and no protocol before it")
        self._fail(f"has no protocol; did you mean PYRONAME://{name} ?")

    def _fail_protocol(self, protocol: str, rest: str) -> NoReturn:
        if protocol.upper() in PROTOCOLS:
            self._fail(f"has its protocol in small letters; did you mean {protocol.upper()}:// ?")
        self._fail(f"has the unknown protocol {_shown(protocol)}; there are {', '.join(PROTOCOLS)}")


# -- checks, shared by reading and building ----------------------------------------------------------------


class _Fault(Exception):
    """What is wrong with one part, as the rest of a sentence that begins with the address."""


def _check_given(protocol: str, host: str, port: int | None, object_id: str) -> Parts:
    """Check the parts that a program gives."""
    if port is not None and (not isinstance(port, int) or isinstance(port, bool)):
        raise TypeError(f"port must be integer, but it is {port!r}")
    try:
        return _check_parts(protocol, host, port or None, object_id)
    except _Fault as fault:
        given = f"{protocol}, host {host!r}, port {port}, id {object_id!r}"
        raise URIError(f"the address of {given} {fault}; addresses look like {FORMS}") from None


def _check_parts(protocol: str, host: str, port: int | None, object_id: str) -> Parts:
    if protocol not in PROTOCOLS:
        raise _Fault(f"has the unknown protocol {protocol!r}; there are {', '.join(PROTOCOLS)}")
    if not isinstance(host, str):
        raise _Fault("has a host that is no text")
    if protocol == "PYRONAME":
        object_id = _check_name(object_id)
    else:
        object_id = _check_object_id(protocol, object_id)
    if protocol == "PYRONAME" and host == "" and port is None:
        return protocol, "", None, object_id
    if host.startswith(UNIX_PREFIX):
        if port is not None:
            raise _Fault(f"has the port {port}, but a unix socket has none")
        return protocol, _check_unix_address(protocol, host), None, object_id
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    host = _check_ipv6(bare) if ":" in bare else _check_host(host)
    if port is None and protocol != "PYRONAME":
        port = config.port
    return protocol, host, None if port is None else _check_port(port), object_id


def _check_port(port: int) -> int:
    if not 1 <= port <= 65535:
        raise _Fault(f"has the port {port}; a port is a number from 1 to 65535")
    return port


def _check_host(host: str) -> str:
    if not host:
        raise _Fault("has no host")
    if len(host) > MAX_HOST_LENGTH:
        raise _Fault(f"has a host of {len(host)} characters, the limit is {MAX_HOST_LENGTH}")
    if not host.isascii():
        raise _Fault(f"has the host {_shown(host)}; a host is ASCII, an international one in its xn-- form")
    if not HOST.fullmatch(host) or ".." in host:
        raise _Fault(f"has the malformed host {_shown(host)}")
    # Case does not count in a host name (RFC 4343), so that two spellings of one address are equal.
    return host.lower()


def _check_ipv6(host: str) -> str:
    from ipaddress import IPv6Address  # 5 ms, and most programs need it never

    # The zone behind a % is the name of a network interface, which has at most 15 characters.
    address, percent, zone = host.partition("%")
    if percent and not ZONE.fullmatch(zone):
        raise _Fault(f"has an IPv6 address with the malformed zone {_shown(zone)}")
    try:
        return str(IPv6Address(address)) + percent + zone
    except ValueError:
        raise _Fault(f"has the host {_shown(host)}, which is no IPv6 address") from None


def _check_unix_address(protocol: str, address: str) -> str:
    if protocol not in UNIX_PROTOCOLS:
        raise _Fault(f"has a unix socket, but {protocol} goes over TCP; {', '.join(UNIX_PROTOCOLS)} can")
    encoded = address[len(UNIX_PREFIX) :]
    if not encoded:
        raise _Fault("has no socket path behind './u:'; the slashes of a path are written %2F")
    if re.search(r"%(?![0-9A-Fa-f]{2})", encoded):
        raise _Fault(f"has a '%' without two hexadecimal digits in its socket path {_shown(encoded)}")
    try:
        path = _decode_path(encoded)
    except UnicodeEncodeError:
        raise _Fault(f"has the socket path {_shown(encoded)}, which has no UTF-8 form") from None
    return UNIX_PREFIX + _encode_path(_check_path(path))


def _check_path(path: str) -> str:
    # Who reads the address has another current directory; abstract sockets have no owner to check.
    if not path.startswith("/"):
        raise _Fault(f"has the socket path {_shown(path)}; it must be absolute, written like %2Frun%2Fx.sock")
    if "\0" in path:
        raise _Fault(f"has the socket path {_shown(path)} with a zero byte in it")
    try:
        length = len(os.fsencode(path))
    except UnicodeEncodeError:
        raise _Fault(f"has the socket path {_shown(path)}, which has no UTF-8 form") from None
    if length > MAX_UNIX_PATH_BYTES:
        raise _Fault(f"has a socket path of {length} bytes, the limit is {MAX_UNIX_PATH_BYTES}")
    return path


def _check_object_id(protocol: str, object_id: str) -> str:
    kind = _kind_of_id(protocol)
    if not isinstance(object_id, str):
        raise _Fault(f"has an {kind} that is no text: {object_id!r}")
    if not object_id:
        raise _Fault(f"has an empty {kind}")
    if "/" in object_id:
        raise _Fault(f"has a '/' in the {kind} {_shown(object_id)}")
    if not object_id.isprintable() or any(map(str.isspace, object_id)):
        raise _Fault(f"has white space or control characters in the {kind} {_shown(object_id)}")
    length = len(object_id.encode())
    if length > MAX_OBJECT_ID_BYTES:
        raise _Fault(f"has an {kind} of {length} bytes, the limit is {MAX_OBJECT_ID_BYTES}")
    return object_id


def _kind_of_id(protocol: str) -> str:
    return "object name" if protocol in ("PYROLOC", "PYROLOCSSL") else "object id"


def _check_name(name: str) -> str:
    try:
        return names.validate_name(name)
    except NamingError as exc:
        raise _Fault(f"has an {exc}") from None


# -- writing --------------------------------------------------------------------------------------------


def _write(protocol: str, address: str, port: int | None, object_id: str) -> str:
    if not address:
        return f"{protocol}://{object_id}"
    host = f"[{address}]" if ":" in address and not address.startswith(UNIX_PREFIX) else address
    return f"{protocol}://{host}/{object_id}" if port is None else f"{protocol}://{host}:{port}/{object_id}"


def _encode_path(path: str) -> str:
    from urllib.parse import quote  # 5 ms, and only unix sockets need it

    return quote(os.fsencode(path), safe="")


def _decode_path(encoded: str) -> str:
    from urllib.parse import unquote_to_bytes

    return os.fsdecode(unquote_to_bytes(encoded))
