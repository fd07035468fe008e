"""Proxies by themselves: what they do without a network, which is everything but calling."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import gpyro
from gpyro import hub

URI = "PYRO://127.0.0.1:1/some-object"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("this was to be done without a connection")

    monkeypatch.setattr(hub, "connect", refuse)


KINDS = (gpyro.Proxy, gpyro.AttrProxy)

class Elsewhere:
    """The connection over which an object was passed, as far as `repr` looks at it."""

    addr = ("127.0.0.1", 1)

    def is_open(self) -> bool:
        return True


INERT: dict[str, Callable[[Any], object]] = {
    "repr": repr,
    "str": str,
    "format": lambda proxy: f"{proxy}",
    "bool": bool,
    "hash": hash,
    "equal": lambda proxy: proxy == gpyro.Proxy(URI),
    "unequal": lambda proxy: proxy != 5,
    "member": lambda proxy: proxy in [1, None, proxy],
    "key": lambda proxy: {proxy: 1}[proxy],
    "dir": dir,
    "vars": vars,
    "type": lambda proxy: isinstance(proxy, gpyro.Proxy),
    "copy": copy.copy,
    "deepcopy": lambda proxy: copy.deepcopy([proxy, {"x": proxy}]),
    "pickle": lambda proxy: pickle.loads(pickle.dumps(proxy)),
    "uri": lambda proxy: proxy.URI,
    "adapter": lambda proxy: proxy.adapter.URI,
    "object id": lambda proxy: proxy.objectID,
    "oneway": lambda proxy: proxy._setOneway(["a", "b"]),
    "timeout": lambda proxy: proxy._setTimeout(3),
    "release": lambda proxy: proxy._release(),
    "reference": lambda proxy: proxy._gpyro_reference_(),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", INERT)
def test_looking_at_a_proxy_never_connects(kind: type[gpyro.Proxy], what: str) -> None:
    INERT[what](kind(URI))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "what", [iter, len, int, float, list, tuple, set, sum, max, bytes, lambda proxy: 1 in proxy,
             lambda proxy: proxy[0], lambda proxy: proxy + 1, lambda proxy: proxy(), lambda proxy: proxy < proxy,
             lambda proxy: proxy.__enter__()],
)  # fmt: skip
def test_what_a_proxy_cannot_do_is_an_error_of_python_and_never_connects(
    kind: type[gpyro.Proxy], what: Callable[[Any], object]
) -> None:
    with pytest.raises((TypeError, AttributeError)):
        what(kind(URI))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ["__array__", "__array_interface__", "__array_struct__", "__len__", "__iter__", "__getitem__",
             "__float__", "__index__", "__await__", "__fspath__", "__html__", "_repr_html_", "_ipython_display_",
             "__wrapped__", "_private", "__name__", "__getstate_manages_dict__", "__buffer__"],
)  # fmt: skip
def test_asking_for_private_and_special_names_never_connects(kind: type[gpyro.Proxy], name: str) -> None:
    assert not hasattr(kind(URI), name)


def test_methods_of_a_proxy_are_inert_until_they_are_called() -> None:
    proxy = gpyro.Proxy(URI)
    method = proxy.anything
    assert repr(method) == f"<RemoteMethod anything of {URI}>"
    assert method is proxy.anything
    assert hasattr(proxy, "whatever")
    with pytest.raises(AssertionError, match="without a connection"):
        method()


def test_proxy_tells_its_address_and_whether_it_is_connected() -> None:
    assert repr(gpyro.Proxy(URI)) == f"<Proxy {URI}, not connected>"
    assert repr(gpyro.AttrProxy(URI)) == f"<AttrProxy {URI}, not connected>"


def test_proxies_of_one_object_are_equal_and_hash_alike() -> None:
    assert gpyro.Proxy(URI) == gpyro.Proxy(gpyro.PyroURI(URI))
    assert len({gpyro.Proxy(URI), gpyro.Proxy(URI), gpyro.Proxy("PYRO://127.0.0.1:1/other")}) == 2


def test_copies_keep_kind_address_and_controls() -> None:
    proxy = gpyro.AttrProxy(URI)
    proxy._setTimeout(3)
    proxy._setOneway("forget")
    for twin in (copy.copy(proxy), copy.deepcopy(proxy)):
        assert twin is not proxy and type(twin) is gpyro.AttrProxy and twin == proxy
        core = twin.__dict__["_core"]
        assert (core.timeout, core.oneway) == (3.0, frozenset({"forget"}))
    back = pickle.loads(pickle.dumps(proxy))
    assert type(back) is gpyro.AttrProxy and back == proxy
    core = back.__dict__["_core"]
    assert (core.timeout, core.oneway) == (3.0, frozenset({"forget"}))


def test_proxy_for_an_object_without_an_address_is_not_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = gpyro.Proxy(URI)
    monkeypatch.setattr(proxy.__dict__["_core"], "bound", Elsewhere())
    with pytest.raises(TypeError, match=r"cannot be pickled: .* has no address; connect that to a daemon"):
        pickle.dumps(proxy)
    assert copy.copy(proxy) is proxy


@pytest.mark.parametrize("timeout", [-1, -0.5])
def test_negative_timeout_is_an_error(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        gpyro.Proxy(URI)._setTimeout(timeout)


@pytest.mark.parametrize("name", ["URI", "adapter", "objectID", "_private"])
def test_attribute_proxy_keeps_what_is_its_own(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        setattr(gpyro.AttrProxy(URI), name, 1)


def test_functions_that_make_proxies_make_those_of_their_kind() -> None:
    assert type(gpyro.getProxyForURI(URI)) is gpyro.Proxy
    assert type(gpyro.getAttrProxyForURI(URI)) is gpyro.AttrProxy
    uri = gpyro.PyroURI(URI)
    assert type(uri.getProxy()) is gpyro.Proxy
    assert type(uri.getAttrProxy()) is gpyro.AttrProxy


def test_proxy_of_a_name_server_is_copied_and_pickled_without_a_connection() -> None:
    proxy = gpyro.naming.NameServerProxy(URI, "secret", noconnect=1)
    proxy._setOneway("ping")
    twin = copy.copy(proxy).__dict__["_core"]
    assert (twin.identification, twin.oneway) == ("secret", frozenset({"ping"}))
    thawed = pickle.loads(pickle.dumps(proxy))
    assert type(thawed) is gpyro.naming.NameServerProxy
    core = thawed.__dict__["_core"]
    assert (core.identification, core.oneway) == (None, frozenset({"ping"}))


def test_identification_that_is_none_is_refused_and_changes_nothing() -> None:
    proxy = gpyro.Proxy(URI)
    proxy._setIdentification("secret")
    with pytest.raises(TypeError, match="passphrase"):
        proxy._setIdentification(("user", "password"))
    with pytest.raises(ValueError, match="empty"):
        proxy._setIdentification("")
    assert proxy.__dict__["_core"].identification == "secret"


def test_secret_shows_nowhere_and_travels_in_no_pickle() -> None:
    proxy = gpyro.Proxy(URI)
    proxy._setIdentification("s3cr3t")
    assert "s3cr3t" not in repr(proxy) + repr(proxy.__dict__["_core"].credentials())
    assert b"s3cr3t" not in pickle.dumps(proxy)
    assert pickle.loads(pickle.dumps(proxy)).__dict__["_core"].identification is None
    assert copy.copy(proxy).__dict__["_core"].identification == "s3cr3t"


def test_waiting_for_callbacks_ends_with_its_time() -> None:
    gpyro.run_callbacks(0)
    gpyro.run_callbacks(0.01)
