"""Several addresses under one name, several names at once, replacing, and the size of meta."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import gpyro
from gpyro import naming
from gpyro._naming.meta import MAX_META_BYTES
from gpyro._naming.namespace import MAX_AT_ONCE
from gpyro.errors import NamingError, SerializationError
from tests.support.servers import running_daemon

URIS = [gpyro.PyroURI(f"PYRO://127.0.0.1:7766/{number}") for number in range(3)]


@pytest.fixture
def ns() -> naming.NameServer:
    return naming.NameServer()


@pytest.fixture
def proxy(ns: naming.NameServer) -> Iterator[naming.NameServerProxy]:
    with running_daemon() as running:
        uri = running.daemon.connect(ns)
        proxy = naming.NameServerProxy(uri)
        yield proxy
        proxy._release()


def test_caller_chooses_among_the_addresses_of_a_name(proxy: naming.NameServerProxy) -> None:
    for uri in URIS:
        proxy.register("x", uri, member=True)
    assert proxy.resolve("x") == proxy.resolve("x", "first") == URIS[0]
    assert proxy.resolve("x", "all") == URIS
    chosen = {str(proxy.resolve("x", "random")) for _ in range(100)}
    assert len(chosen) > 1 and chosen <= {str(uri) for uri in URIS}
    with pytest.raises(ValueError, match=r"^choose='last'; it is 'first', 'random' or 'all'"):
        proxy.resolve("x", "last")


def test_one_address_of_several_is_taken_out(proxy: naming.NameServerProxy) -> None:
    for uri in URIS:
        proxy.register("x", uri, member=True)
    proxy.unregister("x", URIS[0])
    assert proxy.resolve("x", "all") == URIS[1:]
    with pytest.raises(NamingError, match=r"':Default\.x' does not stand for PYRO://127\.0\.0\.1:7766/0"):
        proxy.unregister("x", URIS[0])
    proxy.unregister("x")
    with pytest.raises(NamingError, match=r"^name not found"):
        proxy.resolve("x", "all")


def test_replaced_name_stands_for_the_new_address_and_keeps_its_meta(proxy: naming.NameServerProxy) -> None:
    proxy.register("x", URIS[0])
    proxy.setMeta("x", "note")
    proxy.register("x", URIS[1], replace=True)
    proxy.register("new", URIS[2], replace=True)
    assert proxy.resolve("x") == URIS[1]
    assert proxy.getMeta("x") == "note"
    with pytest.raises(NamingError, match=r"^name already exists"):
        proxy.register("x", URIS[2])


def test_many_names_are_resolved_at_one_go_and_those_that_are_not_there_are_none(
    proxy: naming.NameServerProxy,
) -> None:
    proxy.register("x", URIS[0])
    proxy.register("x", URIS[1], member=True)
    proxy.createGroup(":g")
    wanted = ["x", ":Default.x", "nope", ":g", ":nope.y"]
    found = proxy.resolve_many(wanted)
    assert found == {"x": URIS[0], ":Default.x": URIS[0], "nope": None, ":g": None, ":nope.y": None}
    assert proxy.resolve_many(["x"], "all") == {"x": URIS[:2]}
    assert proxy.resolve_many([]) == {}
    with pytest.raises(NamingError, match="empty part at position 2"):
        proxy.resolve_many(["x", "a..b"])
    with pytest.raises(TypeError, match="is one name"):
        proxy.resolve_many("x")
    for other, kind in ((5, "int"), (None, "NoneType"), (b"x", "bytes")):
        with pytest.raises(TypeError, match=f"names={other!r} is of type {kind}; give a list of names"):
            proxy.resolve_many(other)  # type: ignore[arg-type]


def test_very_many_names_are_asked_for_in_pieces(proxy: naming.NameServerProxy, ns: naming.NameServer) -> None:
    names = [f"x{number}" for number in range(MAX_AT_ONCE + 1)]
    for name in names[-2:]:
        ns.register(name, URIS[0])
    found = proxy.resolve_many(names)
    assert list(found) == names
    assert [name for name, uri in found.items() if uri is not None] == names[-2:]
    with pytest.raises(ValueError, match=f"^{MAX_AT_ONCE + 1} names at once, limit is {MAX_AT_ONCE}"):
        ns.resolve_many(names)


def test_meta_that_is_too_large_or_no_data_is_refused_with_the_limit(proxy: naming.NameServerProxy) -> None:
    proxy.register("x", URIS[0])
    proxy.setMeta("x", b"m" * (MAX_META_BYTES - 100))
    for meta in ("m" * MAX_META_BYTES, b"m" * 5_000_000):
        with pytest.raises(SerializationError, match=rf"limit is {MAX_META_BYTES} for each name"):
            proxy.setMeta("x", meta)
    assert proxy.getMeta("x") == b"m" * (MAX_META_BYTES - 100)


def test_meta_is_kept_as_it_was_whatever_becomes_of_the_value(ns: naming.NameServer) -> None:
    ns.register("x", URIS[0])
    meta = {"tags": ["a"], "size": (1, 2), "at": {3.5}}
    ns.setMeta("x", meta)
    meta["tags"] = ["changed"]
    assert ns.getMeta("x") == {"tags": ["a"], "size": (1, 2), "at": {3.5}}
    with pytest.raises(SerializationError):
        ns.setMeta("x", object())
