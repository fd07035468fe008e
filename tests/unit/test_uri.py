"""Addresses: what is read from each form, what each broken form is told, and that writing gives it back."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpyro import seams
from gpyro.configuration import config
from gpyro.errors import URIError
from gpyro.uri import FORMS, PyroURI, build_unix_address, build_uri, parse_uri

GUID = "7f000001221e29cd10d6e2abc1633150"

#: text, protocol, address, port, objectID, text written (None: as it was)
GOOD = [
    (f"PYRO://localhost:7766/{GUID}", "PYRO", "localhost", 7766, GUID, None),
    ("PYRO://127.0.0.1:1/a", "PYRO", "127.0.0.1", 1, "a", None),
    ("PYRO://host.example.:65535/a", "PYRO", "host.example.", 65535, "a", None),
    ("PYRO://my_host-2:7766/a", "PYRO", "my_host-2", 7766, "a", None),
    ("PYRO://Host.Example:1/Id", "PYRO", "host.example", 1, "Id", "PYRO://host.example:1/Id"),
    ("PYRO://localhost/abc", "PYRO", "localhost", 7766, "abc", "PYRO://localhost:7766/abc"),
    ("PYRO://h:00080/abc", "PYRO", "h", 80, "abc", "PYRO://h:80/abc"),
    ("PYRO://[::1]:7766/abc", "PYRO", "::1", 7766, "abc", None),
    ("PYRO://[::1]/abc", "PYRO", "::1", 7766, "abc", "PYRO://[::1]:7766/abc"),
    ("PYRO://[0:0::1]:7/abc", "PYRO", "::1", 7, "abc", "PYRO://[::1]:7/abc"),
    ("PYRO://[fe80::1%eth0]:7/abc", "PYRO", "fe80::1%eth0", 7, "abc", None),
    ("PYRO://./u:%2Frun%2Fgpyro.sock/abc", "PYRO", "./u:%2Frun%2Fgpyro.sock", None, "abc", None),
    ("PYRO://./u:%2fa%20b/abc", "PYRO", "./u:%2Fa%20b", None, "abc", "PYRO://./u:%2Fa%20b/abc"),
    ("PYRO://h:1/:odd=name?x#y@z:%20", "PYRO", "h", 1, ":odd=name?x#y@z:%20", None),
    ("PYRO://h:1/ключ", "PYRO", "h", 1, "ключ", None),
    ("PYROLOC://localhost:7766/our_object", "PYROLOC", "localhost", 7766, "our_object", None),
    ("PYROLOC://localhost/x", "PYROLOC", "localhost", 7766, "x", "PYROLOC://localhost:7766/x"),
    ("PYROLOC://h:1/:Pyro.test.echoserver", "PYROLOC", "h", 1, ":Pyro.test.echoserver", None),
    ("PYROLOC://./u:%2Fx/name", "PYROLOC", "./u:%2Fx", None, "name", None),
    ("PYROSSL://h:1/abc", "PYROSSL", "h", 1, "abc", None),
    ("PYROLOCSSL://h:1/name", "PYROLOCSSL", "h", 1, "name", None),
    ("PYRONAME://our_object", "PYRONAME", "", None, "our_object", None),
    ("PYRONAME://:Default.our_object", "PYRONAME", "", None, ":Default.our_object", None),
    ("PYRONAME://a.b", "PYRONAME", "", None, "a.b", None),
    ("PYRONAME://:9090", "PYRONAME", "", None, ":9090", None),
    ("PYRONAME://ns.example/our_object", "PYRONAME", "ns.example", None, "our_object", None),
    ("PYRONAME://ns.example:9090/:a.b", "PYRONAME", "ns.example", 9090, ":a.b", None),
    ("PYRONAME://[::1]:9090/x", "PYRONAME", "::1", 9090, "x", None),
    ("PYRONAME://[::1]/x", "PYRONAME", "::1", None, "x", None),
    ("PYRONAME://./u:%2Frun%2Fns/x", "PYRONAME", "./u:%2Frun%2Fns", None, "x", None),
]  # fmt: skip

#: text and what is said of it
BROKEN = [
    ("", "is empty"),
    ("our_object", "has no protocol; did you mean PYRONAME://our_object ?"),
    (":Default.our_object", "has no protocol; did you mean PYRONAME://:Default.our_object ?"),
    ("a b", "has no '://' and no protocol before it"),
    ("localhost:7766/abc", "has no '://' and no protocol before it"),
    ("PYRO:abc@localhost:7766", "is written as in Pyro 4 and 5, where the object comes first and no // follows"),
    ("PYRONAME:abc", "is written as in Pyro 4 and 5, where the object comes first and no // follows"),
    ("pyro://h:1/a", "has its protocol in small letters; did you mean PYRO:// ?"),
    ("http://h:1/a", "has the unknown protocol 'http'; there are PYRO, PYROLOC, PYROSSL, PYROLOCSSL, PYRONAME"),
    ("://h:1/a", "has the unknown protocol ''; there are PYRO, PYROLOC, PYROSSL, PYROLOCSSL, PYRONAME"),
    (" PYRO://h:1/a", "has the unknown protocol ' PYRO'; there are PYRO, PYROLOC, PYROSSL, PYROLOCSSL, PYRONAME"),
    ("PYRO://", "has no '/' and no object id behind the host"),
    ("PYRO://localhost", "has no '/' and no object id behind the host"),
    ("PYROLOC://localhost", "has no '/' and no object name behind the host"),
    ("PYRO://./u:%2Fx", "has no '/' and no object id behind the host"),
    ("PYRO://localhost/", "has an empty object id"),
    ("PYROLOC://localhost/", "has an empty object name"),
    ("PYRO:///a", "has no host"),
    ("PYRO://:7766/a", "has no host"),
    ("PYRONAME:///a", "has no host"),
    ("PYRO://a/b/c", "has a '/' in the object id 'b/c'"),
    ("PYRO://h:1/a b", "has white space or control characters in the object id 'a b'"),
    ("PYRO://h:1/a\n", "has white space or control characters in the object id 'a\\n'"),
    ("PYRO://h:1/a\x00", "has white space or control characters in the object id 'a\\x00'"),
    ("PYRO://h:1/a\u2028", "has white space or control characters in the object id 'a\\u2028'"),
    ("PYROLOC://h:1/\ud800", "has white space or control characters in the object name '\\ud800'"),
    ("PYRO://h:1/" + "a" * 256, "has an object id of 256 bytes, the limit is 255"),
    ("PYRO://h:1/" + "é" * 128, "has an object id of 256 bytes, the limit is 255"),
    ("PYRO://h:0/a", "has the port 0; a port is a number from 1 to 65535"),
    ("PYRO://h:65536/a", "has the port 65536; a port is a number from 1 to 65535"),
    ("PYRO://h:/a", "has the port ''; a port is a number from 1 to 65535"),
    ("PYRO://h:-1/a", "has the port '-1'; a port is a number from 1 to 65535"),
    ("PYRO://h:abc/a", "has the port 'abc'; a port is a number from 1 to 65535"),
    ("PYRO://h:１/a", "has the port '１'; a port is a number from 1 to 65535"),
    ("PYRO://h:999999/a", "has the port '999999'; a port is a number from 1 to 65535"),
    ("PYRO://a b:1/x", "has the malformed host 'a b'"),
    ("PYRO://user@h:1/x", "has the malformed host 'user@h'"),
    ("PYRO://a..b:1/x", "has the malformed host 'a..b'"),
    ("PYRO://-h:1/x", "has the malformed host '-h'"),
    ("PYRO://./x", "has the malformed host '.'"),
    ("PYRO://h\n:1/x", "has the malformed host 'h\\n'"),
    ("PYRO://bücher:1/x", "has the host 'bücher'; a host is ASCII, an international one in its xn-- form"),
    ("PYRO://" + "h" * 254 + ":1/x", "has a host of 254 characters, the limit is 253"),
    (
        "PYRO://::1:7766/a",
        "has more than one ':' in its host; an IPv6 address goes in brackets, like [::1]:7766",
    ),
    ("PYRO://[::1/a", "needs a ']' between the IPv6 address and the port"),
    ("PYRO://[::1]7766/a", "needs a ']' between the IPv6 address and the port"),
    ("PYRO://[localhost]:1/a", "has the host 'localhost', which is no IPv6 address"),
    ("PYRO://[127.0.0.1]:1/a", "has the host '127.0.0.1', which is no IPv6 address"),
    ("PYRO://[]:1/a", "has the host '', which is no IPv6 address"),
    ("PYRO://[::1%a b]:1/a", "has an IPv6 address with the malformed zone 'a b'"),
    ("PYRO://./u:/run/x/a", "has no socket path behind './u:'; the slashes of a path are written %2F"),
    ("PYRO://./u:relative/a", "has the socket path 'relative'; it must be absolute, written like %2Frun%2Fx.sock"),
    ("PYRO://./u:/a", "has no socket path behind './u:'; the slashes of a path are written %2F"),
    ("PYRO://./u:%00a/a", "has the socket path '\\x00a'; it must be absolute, written like %2Frun%2Fx.sock"),
    ("PYRO://./u:%2Fa%00b/a", "has the socket path '/a\\x00b' with a zero byte in it"),
    ("PYRO://./u:%2Fa%2/a", "has a '%' without two hexadecimal digits in its socket path '%2Fa%2'"),
    ("PYRO://./u:%2F" + "x" * 107 + "/a", "has a socket path of 108 bytes, the limit is 107"),
    ("PYROSSL://./u:%2Fx/a", "has a unix socket, but PYROSSL goes over TCP; PYRO, PYROLOC, PYRONAME can"),
    ("PYRONAME://", "has an invalid name: '' is empty"),
    ("PYRONAME://:", "has an invalid name: ':' is the root group"),
    ("PYRONAME://h/", "has an invalid name: '' is empty"),
    ("PYRONAME://a..b", "has an invalid name: 'a..b' has an empty part at position 2"),
    ("PYRONAME://a b", "has an invalid character(s) in name: 'a b' has ' ' at position 1"),
    ("PYRONAME://h:1/a/b", "has an invalid character(s) in name: 'a/b' has '/' at position 1"),
    ("PYRONAME://localhost:9090", "has no name behind the host; PYRONAME://localhost:9090/:Group.object has one"),
    ("PYRONAME://[::1]", "has no name behind the host; PYRONAME://[::1]/:Group.object has one"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "protocol", "address", "port", "object_id", "written"), GOOD)
def test_good_form_is_read_and_written_back(
    text: str, protocol: str, address: str, port: int | None, object_id: str, written: str | None
) -> None:
    uri = parse_uri(text)
    assert (uri.protocol, uri.address, uri.port, uri.objectID) == (protocol, address, port, object_id)
    assert str(uri) == (written or text)
    assert parse_uri(str(uri)) == uri
    assert build_uri(uri.protocol, uri.address, uri.port, uri.objectID) == str(uri)


@pytest.mark.parametrize(("text", "what"), BROKEN)
def test_broken_form_raises_uri_error_with_the_text_what_is_wrong_and_the_forms(text: str, what: str) -> None:
    with pytest.raises(URIError) as caught:
        parse_uri(text)
    message = str(caught.value)
    shown = repr(text if len(text) <= 120 else text[:120] + "...")
    assert message.startswith(f"address {shown} {what}; ")
    assert message.endswith(f"addresses look like {FORMS}")


def test_colon_is_a_letter_in_a_path_and_in_an_id() -> None:
    uri = parse_uri("PYRO://./u:%2Fx:7766/a:1")
    assert (uri.unix_path, uri.objectID) == ("/x:7766", "a:1")


@pytest.mark.parametrize("value", [None, 5, b"PYRO://h:1/a"])
def test_address_that_is_no_text_raises_uri_error(value: Any) -> None:
    with pytest.raises(URIError, match="an address is text like PYRO://"):
        PyroURI(value)


def test_message_about_an_endless_text_is_short() -> None:
    with pytest.raises(URIError) as caught:
        parse_uri("PYRO://" + "x" * 1_000_000)
    assert len(str(caught.value)) < 500


@given(st.text(max_size=60).map(lambda tail: "PYRO" + tail) | st.text(max_size=60))
def test_any_text_gives_an_address_that_round_trips_or_a_uri_error(text: str) -> None:
    try:
        uri = parse_uri(text)
    except URIError:
        return
    assert parse_uri(str(uri)) == uri


LOCATIONS = st.sampled_from(["h", "h:1", "[::1]", "[::1]:2", "./u:%2Fx", "", ":", ".", "./u:", "["])
IDS = st.text(st.characters(codec="utf-8"), max_size=8)


@given(st.sampled_from(["PYRO", "PYRONAME", "PYROLOC", "PYROSSL"]), LOCATIONS, IDS)
def test_likely_text_gives_an_address_that_round_trips_or_a_uri_error(scheme: str, where: str, tail: str) -> None:
    try:
        uri = parse_uri(f"{scheme}://{where}/{tail}")
    except URIError:
        return
    assert parse_uri(str(uri)) == uri
    assert uri.objectID == tail or scheme == "PYRONAME"


# -- Pyro's constructor


@pytest.fixture
def restored_config() -> Iterator[None]:
    port, ns_port = config.port, config.ns_port
    yield
    config.port, config.ns_port = port, ns_port


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("localhost", "id"), "PYRO://localhost:7766/id"),
        (("localhost", "id", 0), "PYRO://localhost:7766/id"),
        (("localhost", "id", None), "PYRO://localhost:7766/id"),
        (("localhost", "id", 1), "PYRO://localhost:1/id"),
        (("localhost", "id", 1, "PYROLOC"), "PYROLOC://localhost:1/id"),
        (("::1", "id", 1), "PYRO://[::1]:1/id"),
        (("[::1]", "id", 1), "PYRO://[::1]:1/id"),
        (("./u:%2Fx", "id"), "PYRO://./u:%2Fx/id"),
        (("", "name", 0, "PYRONAME"), "PYRONAME://name"),
        (("h", "name", 0, "PYRONAME"), "PYRONAME://h/name"),
        (("h", "name", 9, "PYRONAME"), "PYRONAME://h:9/name"),
    ],
)
def test_address_is_built_from_parts(arguments: tuple[Any, ...], text: str) -> None:
    uri = PyroURI(*arguments)
    assert str(uri) == text
    assert parse_uri(text) == uri


def test_keywords_have_pyros_names() -> None:
    assert str(PyroURI(host="h", objectID="id", port=1, prtcol="PYRO")) == "PYRO://h:1/id"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("localhost", "id", 1, "X"), "has the unknown protocol 'X'"),
        (("a/b", "id"), "has the malformed host 'a/b'"),
        (("", "id"), "has no host"),
        (("h", ""), "has an empty object id"),
        (("h", "a b"), "has white space or control characters in the object id 'a b'"),
        (("h", 5), "has an object id that is no text: 5"),
        ((None, "id"), "has a host that is no text"),
        (("h", "id", 70000), "has the port 70000"),
        (("h", "id", -1), "has the port -1"),
        (("./u:%2Fx", "id", 5), "has the port 5, but a unix socket has none"),
        (("h:1", "id"), "has the host 'h:1', which is no IPv6 address"),
        (("", "a b", 0, "PYRONAME"), "has an invalid character(s) in name"),
        (("", "a", 5, "PYRONAME"), "has no host"),
    ],
)
def test_broken_parts_raise_uri_error(arguments: tuple[Any, ...], what: str) -> None:
    with pytest.raises(URIError) as caught:
        PyroURI(*arguments)
    assert str(caught.value).startswith("the address of ")
    assert what in str(caught.value)
    assert str(caught.value).endswith(FORMS)


def test_port_must_be_a_number_as_in_pyro() -> None:
    for port in ("7766", True, 1.5):
        with pytest.raises(TypeError, match="port must be integer"):
            PyroURI("h", "id", port)  # type: ignore[arg-type]


def test_missing_port_is_the_port_of_this_process(restored_config: None) -> None:
    config.port = 7801
    assert str(PyroURI("PYRO://h/a")) == "PYRO://h:7801/a"
    assert str(PyroURI("h", "a")) == "PYRO://h:7801/a"
    assert PyroURI("PYRONAME://h/a").port is None


# -- unix sockets and endpoints


def test_unix_address_is_percent_encoded_and_decoded() -> None:
    for path in ("/run/gpyro.sock", "/tmp/a b%2F:/ü", "/x\udcff"):
        address = build_unix_address(path)
        assert address.isascii()
        assert "/" not in address[len("./u:") :]
        uri = PyroURI(address, "id")
        assert uri.is_unix
        assert uri.unix_path == path
        assert uri.endpoint == ("unix", path)
        assert parse_uri(str(uri)).unix_path == path


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("x.sock", "must be absolute"),
        ("\0abstract", "must be absolute"),
        ("/a\0b", "zero byte"),
        ("/" + "x" * 107, "108 bytes, the limit is 107"),
    ],
)
def test_path_that_is_no_unix_address_raises_uri_error(path: str, what: str) -> None:
    with pytest.raises(URIError, match=r"^the unix socket ") as caught:
        build_unix_address(path)
    assert what in str(caught.value)


def test_endpoint_is_what_to_connect_to(restored_config: None) -> None:
    config.ns_port = 9999
    assert parse_uri("PYRO://h:1/a").endpoint == ("tcp", "h", 1)
    assert parse_uri("PYRO://[::1]:1/a").endpoint == ("tcp", "::1", 1)
    assert parse_uri("PYRONAME://h:1/a").endpoint == ("tcp", "h", 1)
    assert parse_uri("PYRONAME://h/a").endpoint == ("tcp", "h", 9999)
    assert parse_uri("PYRO://h:1/a").unix_path is None
    assert not parse_uri("PYRO://h:1/a").is_unix
    with pytest.raises(URIError, match="names no host; ask a name server"):
        _ = parse_uri("PYRONAME://a").endpoint


# -- as a value


def test_equal_addresses_are_equal_hash_alike_and_equal_their_text() -> None:
    one, two = PyroURI("PYRO://h:1/a"), PyroURI("h", "a", 1)
    assert one == two
    assert hash(one) == hash(two) == hash("PYRO://h:1/a")
    assert one == "PYRO://h:1/a"
    assert "PYRO://h:1/a" in {one: 1}
    assert one != "PYRO://h:1/b"
    assert one != PyroURI("PYRO://h:2/a")
    assert one != PyroURI("PYROLOC://h:1/a")
    assert one != 5


def test_addresses_sort_by_their_text() -> None:
    uris = [PyroURI(f"PYRO://h:1/{letter}") for letter in "cab"]
    assert [uri.objectID for uri in sorted(uris)] == ["a", "b", "c"]
    with pytest.raises(TypeError):
        _ = uris[0] < 5  # type: ignore[operator]


def test_address_does_not_change() -> None:
    uri = PyroURI("PYRO://h:1/a")
    for act in (lambda: setattr(uri, "port", 2), lambda: setattr(uri, "new", 2), lambda: delattr(uri, "port")):
        with pytest.raises(AttributeError, match="of PYRO://h:1/a cannot be"):
            act()  # type: ignore[no-untyped-call]
    assert uri == "PYRO://h:1/a"


def test_copies_and_pickles_are_equal(restored_config: None) -> None:
    for text in ("PYRO://h/a", "PYRONAME://h/a", "PYRO://./u:%2Fx/a", "PYRO://[::1]:1/a"):
        uri = PyroURI(text)
        pickles = [pickle.dumps(uri, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
        # Elsewhere the default port may be another one; the address that travels stays the same.
        config.port = 7801
        copies = [PyroURI(uri), copy.copy(uri), copy.deepcopy(uri), *map(pickle.loads, pickles)]
        config.port = 7766
        assert all(other == uri and other.port == uri.port for other in copies)


def test_repr_shows_the_text() -> None:
    assert repr(PyroURI("PYRO://127.0.0.1:1/a")) == "<PyroURI PYRO://127.0.0.1:1/a>"


def test_proxies_come_through_the_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seams.make_proxy, "_value", lambda uri: ("proxy", uri))
    monkeypatch.setattr(seams.make_attr_proxy, "_value", lambda uri: ("attr", uri))
    uri = PyroURI("PYRO://h:1/a")
    assert uri.getProxy() == ("proxy", uri)
    assert uri.getAttrProxy() == ("attr", uri)


@pytest.mark.parametrize("name", ["[e", "[e]", "[", "[e].x"])
def test_name_that_begins_with_a_bracket_is_read_as_it_was_built(name: str) -> None:
    built = PyroURI("", name, None, "PYRONAME")
    assert parse_uri(str(built)) == built
    assert parse_uri(f"PYRONAME://h:1/{name}").objectID == name


@pytest.mark.parametrize("text", ["PYRONAME://[::1]", "PYRONAME://[::1]:9090", "PYRONAME://[::1"])
def test_ipv6_host_without_a_name_is_told_so(text: str) -> None:
    with pytest.raises(URIError, match="has no name behind the host"):
        parse_uri(text)


@pytest.mark.parametrize("half", ["\ud800", "\udcff"])
def test_half_of_a_surrogate_pair_in_a_socket_path_is_no_address(half: str) -> None:
    # A peer can send such a text: the codec carries them.
    with pytest.raises(URIError, match="has no UTF-8 form"):
        parse_uri(f"PYRO://./u:%2Frun{half}/x")
    with pytest.raises(URIError, match="has no UTF-8 form"):
        PyroURI(f"./u:%2Frun{half}", "x", None, "PYRO")


def test_path_that_the_file_system_cannot_have_is_no_address() -> None:
    with pytest.raises(URIError, match="has no UTF-8 form"):
        build_unix_address("/run/\ud800")
    # Bytes that are not UTF-8 are such names in Python's own way.
    assert build_unix_address("/run/\udcff") == "./u:%2Frun%2F%FF"
