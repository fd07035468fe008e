"""Plain classes of listed modules travel by value; what is not plain, not listed or not found is refused."""

from __future__ import annotations

import dataclasses
import enum
import json
import queue
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import ormsgpack
import pytest

import gpyro
from gpyro._serializers import registry
from gpyro._serializers.byvalue import HOOKS, ByValue
from gpyro.configuration import PROGRAM
from gpyro.errors import NoModuleError, PyroError, RemoteError, SerializationError
from gpyro.serializers import Codec

LISTED = (__name__,)


def codec_for(*modules: str, trusted: bool = True) -> Codec:
    return Codec(by_value=ByValue(modules, lambda: trusted))


CODEC = codec_for(*LISTED)
STRICT = Codec()


def there(value: Any) -> Any:
    """Return a value after its way to the other side."""
    return CODEC.decode_value(*CODEC.encode_value(value))


def raised(exc: BaseException, sender: Codec = CODEC, receiver: Codec = CODEC) -> Any:
    """Return what the other side gets for an exception."""
    return receiver.decode_error(*sender.encode_error(exc, None))


def refusal(value: Any, codec: Codec = CODEC) -> str:
    """Return why a value is not sent."""
    with pytest.raises(SerializationError) as info:
        codec.encode_value(value)
    return str(info.value)


@pytest.fixture(autouse=True)
def restore_registry() -> Iterator[None]:
    tables: tuple[dict[Any, Any], ...] = (
        registry.BY_CLASS, registry.BY_NAME, registry.EXCEPTIONS, registry.EXCEPTION_NAMES,
    )  # fmt: skip
    saved = [dict(table) for table in tables]
    yield
    for table, before in zip(tables, saved, strict=True):
        table.clear()
        table.update(before)


@pytest.fixture
def other() -> Iterator[ModuleType]:
    """A second module of the program, imported and not listed."""
    module = ModuleType("byvalue_other_module")
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


calls: list[str] = []


class Order:
    def __init__(self, article: str, amount: int = 1) -> None:
        calls.append("Order")
        self.article = article
        self.amount = amount
        self.__secret = "mangled"

    def secret(self) -> str:
        return self.__secret

    class Line:
        def __init__(self) -> None:
            self.number = 1


class Rush(Order):
    limit = 5

    @property
    def hours(self) -> int:
        calls.append("hours")
        return 0

    @hours.setter
    def hours(self, value: int) -> None:
        calls.append("set hours")

    def __getattr__(self, name: str) -> str:
        calls.append(name)
        raise AttributeError(name)


@dataclasses.dataclass(eq=False)
class Part:
    weight: float
    tags: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        calls.append("Part")


class Basket(list[Any]):
    def __init__(self, *items: Any) -> None:
        calls.append("Basket")
        super().__init__(items)

    def append(self, item: Any) -> None:
        raise AssertionError("nobody calls this")


class Table(dict[Any, Any]):
    def __setitem__(self, key: Any, value: Any) -> None:
        raise AssertionError("nobody calls this")


class Name(str):
    pass


class NoWork(queue.Empty):
    pass


class Unreadable(json.JSONDecodeError):
    pass


class Overdrawn(Exception):
    def __init__(self, account: str, balance: int) -> None:
        calls.append("Overdrawn")
        super().__init__(account)
        self.message = "overdrawn"
        self._balance = balance

    def balance(self) -> int:
        return self._balance


class Closed(gpyro.errors.NamingError):
    pass


class Served(gpyro.ObjBase):
    pass


class Colour(enum.Enum):
    RED = 1


class Pair(NamedTuple):
    left: int


class Tagged(type):
    pass


# What travels


@pytest.mark.smoke
def test_an_object_arrives_with_its_attributes_and_nothing_of_its_class_runs() -> None:
    order = Order("bolt", 3)
    calls.clear()
    got = there(order)
    assert type(got) is Order and got is not order
    assert (got.article, got.amount, got.secret()) == ("bolt", 3, "mangled")
    assert vars(got) == vars(order) and calls == []


def test_objects_hold_others_and_lie_in_containers() -> None:
    order = Order("bolt")
    order.parts = (Part(1.5, ["steel"]), {"line": Order.Line()})  # type: ignore[attr-defined]
    calls.clear()
    got = there([{"order": order}])[0]["order"]
    part, lines = got.parts
    assert (type(part), part.weight, part.tags) == (Part, 1.5, ["steel"])
    assert type(lines["line"]) is Order.Line and lines["line"].number == 1
    assert calls == []


def test_a_property_of_the_same_name_is_passed_by() -> None:
    rush = Rush("nut")
    vars(rush).update(hours=9, limit=7)
    calls.clear()
    got = there(rush)
    assert vars(got)["hours"] == 9 and got.limit == 7
    assert calls == []
    assert got.hours == 0


def test_subclasses_of_built_in_types_keep_both_parts() -> None:
    basket, table, name = Basket(1, Order("bolt")), Table(a=1), Name("n")
    basket.owner = name  # type: ignore[attr-defined]
    calls.clear()
    got: Any = there([basket, table])
    assert [*map(type, got)] == [Basket, Table] and got[1] == {"a": 1}
    assert got[0][0] == 1 and got[0][1].article == "bolt" and type(got[0].owner) is Name and got[0].owner == "n"
    assert calls == []


def test_arguments_results_and_keywords_carry_them() -> None:
    args, kwargs = CODEC.decode_arguments(*CODEC.encode_arguments((Order("a"),), {"more": Order("b")}))
    assert [args[0].article, kwargs["more"].article] == ["a", "b"]


def test_an_exception_arrives_as_its_own_type_with_all_that_it_holds() -> None:
    exc = Overdrawn("giro", -5)
    calls.clear()
    got = raised(exc)
    assert type(got) is Overdrawn and calls == []
    assert (got.args, got.message, got.balance()) == (("giro",), "overdrawn", -5)
    assert type(raised(Closed("x"))) is Closed
    chained = Overdrawn("a", 1)
    chained.__cause__ = exc
    assert type(raised(chained).__cause__) is Overdrawn


def test_one_side_may_register_what_the_other_lists() -> None:
    listed = CODEC.encode_value(Order("bolt"))
    gpyro.register(Order)
    assert STRICT.decode_value(*listed).article == "bolt"
    registered = STRICT.encode_value(Order("nut"))
    restore = registry.BY_CLASS.pop(Order)
    del registry.BY_NAME[restore.name]
    assert CODEC.decode_value(*registered).article == "nut"


# Registration wins


def test_a_registration_wins_over_the_list() -> None:
    plain = CODEC.encode_value(Order("bolt"))

    def refuse(state: Any) -> Any:
        raise ValueError("checked")

    gpyro.register(Order, to_state=lambda order: order.article, from_state=refuse)
    with pytest.raises(SerializationError, match="checked"):
        CODEC.decode_value(*CODEC.encode_value(Order("bolt")))
    with pytest.raises(SerializationError, match="checked"):
        CODEC.decode_value(*plain)


def test_a_class_that_is_registered_under_another_name_cannot_be_had_round_its_checks() -> None:
    plain = CODEC.encode_value(Order("bolt"))
    error = CODEC.encode_error(Overdrawn("giro", 1), None)
    gpyro.register(Order, name="order", to_state=vars, from_state=lambda state: Order("checked"))
    gpyro.register(Overdrawn, name="overdrawn")
    with pytest.raises(SerializationError, match="registered on this side, as 'order'"):
        CODEC.decode_value(*plain)
    assert type(CODEC.decode_error(*error)).__bases__[0].__name__ == "RemoteError"


# What does not qualify


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("inherited", [False, True])
def test_a_class_with_a_hook_is_refused_on_both_sides(
    hook: str, inherited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*args: Any) -> Any:
        calls.append(hook)
        return hash("x") if hook == "__hash__" else None

    members: dict[str, Any] = {hook: () if hook == "__slots__" else run, "__module__": __name__}
    space = sys.modules[__name__]
    base = type("Hooked", (), dict(members, __qualname__="Hooked"))
    cls: Any = type("Heir", (base,), {"__module__": __name__, "__qualname__": "Heir"}) if inherited else base
    monkeypatch.setattr(space, "Hooked", base, raising=False)
    monkeypatch.setattr(space, "Heir", cls, raising=False)
    calls.clear()
    name = f"{__name__}.{cls.__qualname__}"
    with pytest.raises(SerializationError, match=f"Hooked defines {hook}.*gpyro.register"):
        CODEC.decode_value(forged(name, {"a": 1}))
    assert type(raised_by_name(name)) is not cls
    assert calls == []
    if hook not in ("__new__", "__slots__", "__class__", "__getattribute__", "__del__"):
        assert f"defines {hook}" in refusal(cls())


def forged(name: Any, state: Any) -> bytes:
    """Return the body that a peer of bad will sends for an object."""
    payload, _ = STRICT.encode_value([name, state])
    return ormsgpack.packb(ormsgpack.Ext(40, payload))


def raised_by_name(name: str, receiver: Codec = CODEC, *args: Any) -> Any:
    """Return what arrives for an exception that a peer says is of this class."""
    stranger = RemoteError(*args)
    stranger.remote_type = name
    return receiver.decode_error(*STRICT.encode_error(stranger, None))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Colour.RED, "its metaclass is enum.Enum"),
        (Pair(1), "Pair defines __new__"),
        (Tagged("Odd", (), {"__module__": __name__})(), "its metaclass is .*Tagged"),
        (type("Same", (), {"__module__": __name__})(), "its module has something else, or nothing"),
    ],
)
def test_what_is_no_plain_class_is_refused_with_the_way_out(value: Any, reason: str) -> None:
    with pytest.raises(SerializationError, match=f"{reason}.*gpyro.register\\("):
        CODEC.encode_value([value])


def test_a_class_without_a_place_in_its_module_is_refused() -> None:
    class Local:
        pass

    assert "its module has something else, or nothing, under the name 'test_a_class" in refusal(Local())


def test_an_exception_that_derives_from_one_of_the_library_is_caught_as_that() -> None:
    assert type(raised(NoWork("none left"))) is NoWork
    there = raised(Unreadable("no value", "[x", 1))
    assert type(there) is Unreadable
    assert (there.pos, there.lineno, str(there)) == (1, 1, "no value: line 1 column 2 (char 1)")


def test_an_exception_that_is_no_exception_never_arrives_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    cls = type("Stop", (SystemExit,), {"__module__": __name__, "__qualname__": "Stop"})
    monkeypatch.setattr(sys.modules[__name__], "Stop", cls, raising=False)
    assert isinstance(raised(cls()), RemoteError)
    assert isinstance(raised_by_name(f"{__name__}.Stop"), RemoteError)


def test_a_base_of_another_module_is_refused(other: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    base = type("Base", (), {"__module__": other.__name__, "__qualname__": "Base"})
    monkeypatch.setattr(other, "Base", base, raising=False)
    cls = type("Child", (base,), {"__module__": __name__, "__qualname__": "Child"})
    monkeypatch.setattr(sys.modules[__name__], "Child", cls, raising=False)
    assert "its base byvalue_other_module.Base is of a module that is not in by_value" in refusal(cls())
    assert codec_for(*LISTED, other.__name__).encode_value(cls())
    with pytest.raises(SerializationError, match="its base"):
        CODEC.decode_value(forged(f"{__name__}.Child", {}))


def test_objects_that_travel_by_reference_never_go_by_value() -> None:
    assert "travels by reference" in refusal(Served())
    with pytest.raises(SerializationError, match="travels by reference, never by value"):
        CODEC.decode_value(forged(f"{__name__}.Served", {}))


def test_cycles_and_depth_are_refused_with_the_path() -> None:
    order = Order("bolt")
    order.again = [order]  # type: ignore[attr-defined]
    assert refusal(order) == "result -> 'again' -> [0]: the Order contains itself"
    chain: Any = None
    for _ in range(65):
        link = Order("link")
        link.next = chain  # type: ignore[attr-defined]
        chain = link
    assert "more than 64 extensions inside each other (max_depth)" in refusal(chain)


# Keys


@pytest.mark.parametrize(
    "make",
    [
        lambda order: {order: 1},
        lambda order: {order},
        lambda order: frozenset((order,)),
        lambda order: {(1, (order,)): 1},
        lambda order: {frozenset((1, order)): 1},
        lambda order: {(Name("key"),) * 2: 1},
        lambda order: Table({order: 1}),
        lambda order: [{Name("key"): 1}],
    ],
)
def test_an_object_is_never_a_key(make: Any) -> None:
    assert "travels by value (by_value), so it cannot be a key of a dict" in refusal(make(Order("bolt")))


@pytest.mark.parametrize(
    ("extension", "tail"), [(3, []), (4, []), (5, [1]), (30, [1]), (31, [1, None, None]), (33, [1])]
)
def test_a_forged_key_is_refused(extension: int, tail: list[Any]) -> None:
    key = ormsgpack.Ext(40, ormsgpack.packb([f"{__name__}.Order", {}]))
    for member in (key, ormsgpack.Ext(1, ormsgpack.packb([0, key]))):
        body = ormsgpack.packb(ormsgpack.Ext(extension, ormsgpack.packb([member, *tail])))
        with pytest.raises(SerializationError, match=r"Order that arrived .* cannot be a key of a dict"):
            CODEC.decode_value(body)
    with pytest.raises(PyroError):
        CODEC.decode_value(b"\x81" + ormsgpack.packb(key) + b"\x01")


# Names that arrive


def test_a_name_is_looked_up_in_listed_modules_that_are_imported_and_nowhere_else(other: ModuleType) -> None:
    sys.modules.pop("colorsys", None)
    for name in ("colorsys.rgb_to_hls", "nowhere.Order", f"{other.__name__}.Order", "os.system", "Order", "", "."):
        for codec in (CODEC, codec_for("nowhere", *LISTED)):
            with pytest.raises(NoModuleError, match="arrived, and no class is registered under that name"):
                codec.decode_value(forged(name, {}))
    assert "colorsys" not in sys.modules


def test_the_error_says_what_is_missing(other: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def why(name: str) -> str:
        with pytest.raises(NoModuleError) as info:
            CODEC.decode_value(forged(name, {}))
        return str(info.value)

    assert f"the module {__name__!r}, which is listed (by_value), has no such class" in why(f"{__name__}.Gone")
    missing = "its module 'nowhere' is not imported on this side: import it here"
    assert f"{missing} and list it (by_value); or gpyro.register" in why("nowhere.Order")
    for listed, cure in (("nowhere", ""), (PROGRAM, ", if it is one of the program's own")):
        with pytest.raises(NoModuleError) as found:
            codec_for(listed).decode_value(forged("nowhere.Order", {}))
        assert f"{missing}{cure}; or gpyro.register(cls) on both sides" in str(found.value)
    assert "its module 'byvalue_other_module' is not in by_value" in why("byvalue_other_module.Order")
    # Not the test runner, which is a library's.
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    with pytest.raises(NoModuleError, match="put classes that both sides need into a module that both import"):
        codec_for("__main__").decode_value(forged("__main__.Order", {}))


def test_errors_of_arguments_and_values_do_not_show_the_pass_before_as_their_context() -> None:
    body = forged("nowhere.Order", {})
    for decode in (lambda: CODEC.decode_value(body), lambda: CODEC.decode_arguments(b"\x91" + body)):
        with pytest.raises(NoModuleError) as info:
            decode()
        assert (info.value.__context__, info.value.__cause__) == (None, None)


@pytest.mark.parametrize("name", ["there", "calls", "gpyro", "Codec", "CODEC", "Order.secret", "Rush.hours"])
def test_functions_values_and_what_was_imported_are_no_classes_of_the_module(name: str) -> None:
    with pytest.raises(NoModuleError):
        CODEC.decode_value(forged(f"{__name__}.{name}", {}))


def test_a_listed_module_does_not_lend_its_name_to_what_it_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    space = sys.modules[__name__]
    for name, thing in {"Popen": subprocess.Popen, "system": os.system, "os": os, "Blob": bytes}.items():
        monkeypatch.setattr(space, name, thing, raising=False)
    for name in ("Popen", "system", "os", "os.system", "Blob", "ModuleType", "PyroError"):
        with pytest.raises(NoModuleError):
            CODEC.decode_value(forged(f"{__name__}.{name}", {"args": "x"}))
    monkeypatch.setattr(Order, "Hidden", subprocess.Popen, raising=False)
    with pytest.raises(NoModuleError):
        CODEC.decode_value(forged(f"{__name__}.Order.Hidden", {}))


def test_a_module_is_never_asked_for_a_name() -> None:
    class Lazy(ModuleType):
        def __getattribute__(self, name: str) -> Any:
            calls.append(name)
            return super().__getattribute__(name)

    lazy = Lazy("byvalue_lazy")
    vars(lazy)["__getattr__"] = calls.append
    sys.modules["byvalue_lazy"] = lazy
    sys.modules["byvalue_odd"] = Order("no module")  # type: ignore[assignment]
    calls.clear()
    try:
        for name in ("byvalue_lazy.Order", "byvalue_odd.Order", "byvalue_odd.article"):
            with pytest.raises(NoModuleError):
                codec_for("byvalue_lazy", "byvalue_odd").decode_value(forged(name, {}))
    finally:
        del sys.modules["byvalue_lazy"], sys.modules["byvalue_odd"]
    assert calls == []


@pytest.mark.parametrize(
    "name", [None, 5, b"x", "a." * 400 + "B", "." * 500, f"{__name__}..Order", f"{__name__}."]
)
def test_names_that_are_none_are_refused(name: Any) -> None:
    with pytest.raises(PyroError):
        CODEC.decode_value(forged(name, {}))


def test_a_metaclass_is_not_asked_when_a_name_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            calls.append(name)
            return super().__getattribute__(name)

        def __call__(cls, *args: Any) -> Any:
            calls.append("made")

    cls = Meta("Odd", (), {"__module__": __name__, "__qualname__": "Odd"})
    monkeypatch.setitem(vars(sys.modules[__name__]), "Odd", cls)
    calls.clear()
    with pytest.raises(SerializationError, match=r"its metaclass is .*Meta"):
        CODEC.decode_value(forged(f"{__name__}.Odd", {}))
    assert calls == []


# State that arrives


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("__class__", "is no plain name"),
        ("__dict__", "is no plain name"),
        ("__del__", "is no plain name"),
        ("a b", "is no plain name"),
        ("", "is no plain name"),
        ("a.b", "is no plain name"),
        ("secret", "would hide a method"),
        ("Line", "would hide a method"),
    ],
)
def test_attributes_that_are_no_plain_names_are_refused_on_both_sides(key: str, reason: str) -> None:
    with pytest.raises(SerializationError, match=f"does not fit: its attribute {key!r} {reason}"):
        CODEC.decode_value(forged(f"{__name__}.Order", {key: 1}))
    order = Order("bolt")
    vars(order)[key] = 1
    assert f"its attribute {key!r} {reason}" in refusal(order)


@pytest.mark.parametrize("state", [None, 5, [], ["", {}], "text", {1: 2}, [[], {}], {"_Order__secret": {1, 2}}])
def test_state_of_another_form_is_refused(state: Any) -> None:
    if state == {"_Order__secret": {1, 2}}:
        assert CODEC.decode_value(forged(f"{__name__}.Order", state)).secret() == {1, 2}
        return
    with pytest.raises(SerializationError, match="does not fit"):
        CODEC.decode_value(forged(f"{__name__}.Order", state))
    with pytest.raises(SerializationError, match="does not fit"):
        CODEC.decode_value(forged(f"{__name__}.Table", state))


def test_an_exception_that_comes_as_an_object_is_refused() -> None:
    with pytest.raises(SerializationError, match="it is an exception, and came as something else"):
        CODEC.decode_value(forged(f"{__name__}.Overdrawn", {}))


def test_a_plain_class_that_comes_as_an_exception_is_none() -> None:
    assert isinstance(raised_by_name(f"{__name__}.Order"), RemoteError)


# Over which connections


def test_nothing_travels_with_a_peer_that_nobody_knows() -> None:
    distant = codec_for(*LISTED, trusted=False)
    text = refusal(Order("bolt"), distant)
    assert f"a {__name__}.Order travels by value (by_value) only between programs on one machine" in text
    assert "setAllowedIdentifications" in text and "gpyro.register(Order) on both sides" in text
    with pytest.raises(SerializationError, match=r"test_byvalue\.Order' arrived.*_setIdentification"):
        distant.decode_value(*CODEC.encode_value(Order("bolt")))
    with pytest.raises(SerializationError) as info:
        distant.decode_value(forged("nowhere.Order", {}))
    assert "imported" not in str(info.value)
    got = raised(Overdrawn("giro", -5), distant, distant)
    assert isinstance(got, RemoteError) and got.remote_type == f"{__name__}.Overdrawn"
    assert not hasattr(got, "_balance")


def test_without_a_list_the_registry_stays_strict() -> None:
    text = "its class is not registered; gpyro.register(Order) on both sides"
    assert refusal(Order("bolt"), STRICT).endswith(text)
    with pytest.raises(NoModuleError, match=r"no class is registered under that name here; gpyro\.register"):
        STRICT.decode_value(*CODEC.encode_value(Order("bolt")))
    assert isinstance(raised(Overdrawn("giro", 1), CODEC, STRICT), RemoteError)


def test_a_class_of_a_module_that_is_not_listed_is_refused() -> None:
    text = refusal(Order("bolt"), codec_for("another"))
    assert f"its module {__name__!r} is not in by_value, or is none of the program's own" in text
    with pytest.raises(NoModuleError, match="is not in by_value"):
        codec_for("another").decode_value(*CODEC.encode_value(Order("bolt")))


def test_attributes_of_an_exception_that_are_no_plain_names_are_left_out() -> None:
    stranger = RemoteError("giro")
    stranger.remote_type = f"{__name__}.Overdrawn"
    vars(stranger).update({"_kept": 1, "kept": 2, "args": 3})
    body, parts = STRICT.encode_error(stranger, None)
    fields = ormsgpack.unpackb(ormsgpack.unpackb(body, ext_hook=lambda kind, payload: payload))
    assert fields[3] == {"kept": b"\x02"}
    fields[3].update(dict.fromkeys(("_kept", "__class__", "__dict__", "a b", "balance"), b"\x01"))
    got = CODEC.decode_error(ormsgpack.packb(ormsgpack.Ext(41, ormsgpack.packb(fields))), parts)
    assert type(got) is Overdrawn
    assert vars(got) == {"_kept": 1, "kept": 2, "remote_stacktrace": None}


def test_nothing_of_it_is_loaded_where_nobody_lists_modules() -> None:
    program = (
        "import sys, gpyro; gpyro.Daemon(port=0, norange=True).shutdown(); gpyro.Proxy('PYRO://127.0.0.1:1/x');"
        "print([name for name in sys.modules if name.startswith('gpyro._serializers.byv')])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"


def test_repr_tells_the_modules_and_whether_the_peer_is_known() -> None:
    assert repr(ByValue(("shop",), lambda: True)) == "<ByValue shop, with this peer>"
    assert repr(ByValue(("shop",), lambda: False)) == "<ByValue shop, not with this peer>"
