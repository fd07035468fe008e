"""Texts under fire: addresses, names, and the files of keys.

    uri       byte 0 what is done; the rest is text, in UTF-8 where half of a surrogate pair may stand alone
    keyfile   byte 0 bit 0: the file is read only; the rest is the file
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import cache
from typing import Final

from gpyro.auth import Key, Verifier, format_key, format_verifier, load_identification, load_key, load_verifiers
from gpyro.errors import ConfigurationError, NamingError, URIError
from gpyro.names import (
    MAX_DEPTH,
    MAX_NAME_LENGTH,
    check_full_group,
    check_full_name,
    expand_name,
    split_name,
    validate_group,
    validate_name,
)
from gpyro.nametree import NameTree
from gpyro.uri import PROTOCOLS, PyroURI, build_unix_address, build_uri, parse_uri

__all__ = ["keyfile", "uri"]

#: No message shows a hostile text at length.
LONGEST_MESSAGE: Final = 4_000


def uri(data: bytes) -> None:
    """Read a text as an address and as a name, and build addresses from parts of it.

    Raises:
        AssertionError: a promise is broken. Anything else is a finding as well.
    """
    what, rest = data[:1], data[1:]
    try:
        text = rest.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = rest.decode("latin-1")
    (_parse, _build, _build_unix, _name)[(what or b"\0")[0] % 4](text, (what or b"\0")[0] >> 2)


def _parse(text: str, case: int) -> None:
    try:
        address = parse_uri(text)
    except URIError as exc:
        assert len(str(exc)) < LONGEST_MESSAGE
        return
    _check_address(address)


def _check_address(address: PyroURI) -> None:
    written = str(address)
    again = parse_uri(written)
    assert (again, str(again), hash(again)) == (address, written, hash(address)), f"{written} became {again}"
    parts = [(one.protocol, one.address, one.port, one.objectID) for one in (address, again)]
    assert parts[0] == parts[1], f"{parts[0]} became {parts[1]}"
    assert build_uri(*parts[0]) == written
    assert address.port is None or 1 <= address.port <= 65535
    try:
        assert address.endpoint[0] == ("unix" if address.is_unix else "tcp")
    except URIError:
        assert address.protocol == "PYRONAME" and not address.address


def _build(text: str, case: int) -> None:
    host, _, rest = text.partition("\0")
    object_id, _, number = rest.partition("\0")
    protocol = PROTOCOLS[case % len(PROTOCOLS)]
    port = int.from_bytes(number.encode("utf-8", "surrogatepass")[:3], "big") - 5 if number else None
    try:
        address = PyroURI(host, object_id, port, protocol)
    except URIError:
        return
    _check_address(address)


def _build_unix(text: str, case: int) -> None:
    try:
        address = build_unix_address(text)
    except URIError:
        return
    built = PyroURI(address, "x", None, "PYRO")
    assert built.unix_path == text
    _check_address(built)


def _name(text: str, case: int) -> None:
    full = _or_none(expand_name, text)
    for check in (validate_name, validate_group, check_full_name, check_full_group):
        name = _or_none(check, text)
        assert name in (None, text)
        if name is not None and name not in ("", ":"):
            assert len(name) <= MAX_NAME_LENGTH and name.count(".") < MAX_DEPTH and "/" not in name
    if full is None or full == ":":
        return
    assert expand_name(full) == full == check_full_name(full)
    group, last = split_name(full)
    assert (group + last if group == ":" else f"{group}.{last}") == full
    _check_tree(full)


def _or_none(check: Callable[[str], str], text: str) -> str | None:
    try:
        return check(text)
    except NamingError as exc:
        assert exc.reason and str(exc).startswith(exc.reason) and len(str(exc)) < LONGEST_MESSAGE
        return None


def _check_tree(full: str) -> None:
    tree = NameTree(max_names=MAX_DEPTH + 1)
    parts = full[1:].split(".")
    for count in range(1, len(parts)):
        tree.apply_all(tree.plan_create_group(":" + ".".join(parts[:count]), created=0.0))
    tree.apply_all(tree.plan_register(full, "PYRO://h:1/x", created=0.0))
    assert tree.members(full)[0].uri == "PYRO://h:1/x" and tree.flatlist() == [(full, "PYRO://h:1/x")]
    assert tree.list(split_name(full)[0]) == [(parts[-1], 1)]
    tree.apply_all(tree.plan_unregister(full))
    assert len(tree) == len(parts) - 1


# -- files of keys -------------------------------------------------------------------------------------------


@cache
def _file() -> tuple[str, int]:
    """Return a file in memory, where there is such a place, that is written anew each time."""
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    descriptor, path = tempfile.mkstemp(prefix="gpyro-fuzz-", dir=folder)
    os.unlink(path)
    return f"/proc/self/fd/{descriptor}", descriptor


def keyfile(data: bytes) -> None:
    """Read bytes as each of the files that hold secrets; what is read can be written and read again.

    Raises:
        AssertionError: a promise is broken. Anything else is a finding as well.
    """
    path, descriptor = _file()
    _write(descriptor, data)
    loads: tuple[Callable[[str], object], ...] = (load_key, load_verifiers, load_identification)
    found = [_load(load, path, data) for load in loads]
    key, verifiers, identification = found
    if isinstance(key, Key):
        assert identification == key
        _write(descriptor, format_key(key).encode())
        assert load_key(path) == key
    if isinstance(verifiers, list):
        _write(descriptor, "".join(map(format_verifier, verifiers)).encode())
        assert load_verifiers(path) == verifiers
        assert isinstance(identification, Key) or identification == verifiers
    if isinstance(identification, str):
        lines = [line.strip("\r") for line in data.decode().split("\n")]
        assert identification.strip() and identification in lines, "a passphrase is not one line of its file"
        assert key is None and verifiers is None
    assert all(isinstance(one, (Key, Verifier)) for one in verifiers or ())  # type: ignore[attr-defined]


def _write(descriptor: int, data: bytes) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, data, 0)


def _load(load: Callable[[str], object], path: str, data: bytes) -> object:
    try:
        return load(path)
    except ConfigurationError as exc:
        message = str(exc)
        for word in data.split():
            if len(word) >= 40 and word.isascii():
                assert word.decode() not in message, "a secret stands in a message"
        return None
