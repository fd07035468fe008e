"""Rules: how they are given, what they grant, what is refused, and what an error says."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpyro
from gpyro._daemon.registry import Registry
from gpyro.access import LET_IN, Rules, denial, describe_caller, parse_rules
from gpyro.errors import AccessDeniedError, DaemonError, PyroError
from gpyro.objects import ObjBase, build_table


class Press(ObjBase):
    kind = "hydraulic"

    def __init__(self) -> None:
        super().__init__()
        self.speed = 3
        self.hook = print

    def start(self) -> str:
        return "runs"

    def stop(self) -> str:
        return "stands"

    @property
    def load(self) -> int:
        raise AssertionError("a property is not asked")


class Plain:
    def step(self) -> None: ...


def rules(**grants: set[str]) -> Rules:
    made = parse_rules(grants)
    assert made is not None
    return made


# -- what is granted -----------------------------------------------------------------------------------------


def test_none_is_no_rules_and_rules_stay_what_they_are() -> None:
    made = rules(a={"x"})
    assert parse_rules(None) is None
    assert parse_rules(made) is made


def test_names_are_granted_to_whom_the_mapping_says_and_to_nobody_else() -> None:
    made = parse_rules({"operator": {"start", "stop"}, "reader": ["speed"], "boss": ("*", "speed="), "*": set()})
    assert made is not None
    assert made.callers("start") == {"operator", "boss"}
    assert made.callers("other") == {"boss"}
    assert made.readers("speed") == {"reader"}
    assert made.writers("speed") == {"boss"}
    assert made.readers("other") == made.writers("other") == frozenset()


def test_the_star_among_names_stands_for_methods_and_for_no_attribute() -> None:
    made = rules(a={"*"})
    assert made.callers("anything") == {"a"}
    assert made.readers("anything") == made.writers("anything") == frozenset()


def test_users_are_who_is_granted_something_that_the_object_has() -> None:
    made = rules(a={"start"}, b={"elsewhere"}, c={"*"}, d={"speed="}, e=set())
    assert made.users({"start", "speed"}.__contains__) == {"a", "c", "d"}
    assert rules().users(lambda name: True) == frozenset()


def test_granting_more_makes_other_rules_and_leaves_these() -> None:
    made = rules(a={"x"})
    more = made.granting("*", ("ping",))
    assert more.callers("ping") == {"*"} and more.callers("x") == {"a"}
    assert made.callers("ping") == frozenset()


def test_rules_show_what_they_grant() -> None:
    made = rules(reader={"status"}, operator={"stop", "start"})
    assert repr(made) == "<Rules operator: start, stop; reader: status>"
    assert repr(rules()) == repr(rules(a=set())) == "<Rules that grant nothing>"


def test_equal_rules_are_equal() -> None:
    assert rules(a={"x"}, b=set()) == parse_rules({"a": ["x"]})
    assert hash(rules(a={"x"})) == hash(parse_rules({"a": ("x",)}))
    assert rules(a={"x"}) != rules(a={"y"}) and rules() != 1


# -- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allow", "message"),
    [
        ({"alice": "stop"}, r"'alice' the text 'stop'.*write \{'stop'\}"),
        ({"stop"}, r"\{'stop'\} is of type set; rules look like"),
        ("alice", "'alice' is of type str; rules look like"),
        ({1: {"stop"}}, "1 of type int"),
        ({"": {"stop"}}, "'' as an identity or role: empty"),
        ({" alice": {"stop"}}, "' alice' as an identity or role"),
        ({"alice": None}, "None of type NoneType"),
        ({"alice": {"stop": 1}}, r"\{'stop': 1\} of type dict"),
        ({"alice": {1}}, "1 of type int; a name is text"),
        ({"alice": {"_stop"}}, "'_stop'; private names"),
        ({"alice": {"__class__="}}, "private names"),
        ({"alice": {"a.b"}}, "'a.b'; a name is that of a method or attribute"),
        ({"alice": {"*="}}, r"'\*='; a name is"),
        ({"alice": {""}}, "''; a name is"),
        ({"alice": {"="}}, "'='; a name is"),
        ({"alice": {"x=="}}, "'x=='; a name is"),
    ],
)
def test_what_is_no_rule_is_refused_with_the_way_out(allow: Any, message: str) -> None:
    with pytest.raises(DaemonError, match=message):
        parse_rules(allow)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stpo", r"'stpo', but the 'Press' object has no such method or data attribute; did you mean stop"),
        ("zzz", r"there is kind, load, speed, start, stop; what comes later has to be named in attributes="),
        ("sped=", r"no such data attribute; did you mean speed\?"),
        ("start=", "no such data attribute"),
        ("hook", "no such method or data attribute"),
        ("getProxy", "no such method"),
        ("objectGUID", "no such method or data attribute"),
    ],
)
def test_a_name_that_the_object_does_not_have_is_refused_with_those_like_it(name: str, message: str) -> None:
    table = build_table(Press())
    with pytest.raises(DaemonError, match=message):
        rules(alice={name}).check(table.methods, table.attribute_names(), table.description)


def test_names_that_the_object_has_pass() -> None:
    table = build_table(Press())
    made = rules(alice={"*", "start", "speed", "speed=", "kind", "load"})
    made.check(table.methods, table.attribute_names(), table.description)


def test_an_object_without_data_for_the_outside_has_no_attribute_names() -> None:
    assert build_table(Plain()).attribute_names() == frozenset()
    assert build_table(Plain(), ["later"]).attribute_names() == {"later"}


def test_a_long_list_of_names_is_cut_in_an_error() -> None:
    with pytest.raises(DaemonError, match=r"aaa, bbb, .* and 16 more"):
        rules(alice={"x_y_z"}).check([c * 3 for c in string.ascii_lowercase], [], "thing")


# -- errors --------------------------------------------------------------------------------------------------


def test_a_caller_is_told_by_identity_and_roles() -> None:
    assert describe_caller("press-4", {"*", "press-4"}) == "'press-4'"
    assert describe_caller("press-4", {"*", "press-4", "operator"}) == "'press-4' (role operator)"
    assert describe_caller("press-4", {"*", "b", "a"}) == "'press-4' (roles a, b)"
    assert describe_caller(None, LET_IN) == "a caller without an identity"


def test_the_error_says_who_may_not_do_what_and_how_it_is_granted() -> None:
    error = denial("press-4", {"*", "press-4", "reader"}, "write", "speed")
    assert isinstance(error, AccessDeniedError) and isinstance(error, PyroError)
    assert str(error) == (
        "access denied: 'press-4' (role reader) may not write 'speed', as no rule of this object grants it; "
        "have the server grant 'speed=' with allow= when it connects the object"
    )
    assert "log in as somebody who may" in str(denial(None, LET_IN, "call", "stop"))


def test_the_error_repeats_only_so_much_of_what_the_caller_sent() -> None:
    assert len(str(denial(None, LET_IN, "call", "x" * 100_000))) < 600
    assert "\n" not in str(denial(None, LET_IN, "call", "x\ny"))


# -- in the registry -----------------------------------------------------------------------------------------


def connected(press: Press, allow: Any, default: Any = None) -> Registry:
    registry = Registry()
    registry.rules = parse_rules(default)
    registry.connect(press, "id", None, rules=parse_rules(allow))
    return registry


def allowed(registry: Registry, name: str, access: int = 0) -> Any:
    return registry.find(b"t", access, "id", name).allowed


def test_without_rules_everybody_may_call_everything() -> None:
    registry = connected(Press(), None)
    assert allowed(registry, "start") is None
    assert allowed(registry, "speed", 1) is None


def test_own_rules_take_the_place_of_the_daemons() -> None:
    default = {"anybody": {"start"}}
    assert allowed(connected(Press(), None, default), "start") == {"anybody"}
    assert allowed(connected(Press(), {}, default), "start") == frozenset()


def test_attributes_carry_who_may_read_and_write_them() -> None:
    registry = connected(Press(), {"a": {"speed"}, "b": {"speed="}, "c": {"start"}})
    assert allowed(registry, "speed", 1) == {"a"}
    assert allowed(registry, "speed", 2) == {"b"}
    assert allowed(registry, "start", 1) == {"c"}
    assert allowed(registry, "start", 2) == frozenset()


def test_what_does_not_exist_is_denied_to_who_may_call_nothing_and_unknown_to_others() -> None:
    registry = connected(Press(), {"a": {"start"}})
    assert registry.find(b"t", 0, "id", "nothing", LET_IN).allowed == frozenset()
    with pytest.raises(AttributeError, match="no method 'nothing'"):
        registry.find(b"t", 0, "id", "nothing", frozenset({"*", "a"}))
    assert b"t" not in registry.methods


def test_wrong_rules_leave_nothing_behind() -> None:
    registry = Registry()
    with pytest.raises(DaemonError):
        registry.connect(Press(), "id", None, rules=parse_rules({"a": {"nothing"}}))
    assert len(registry) == 0


def test_new_rules_hold_for_methods_that_are_remembered() -> None:
    press = Press()
    registry = connected(press, {"a": {"start"}})
    remembered = registry.find(b"t", 0, "id", "start")
    entry = registry.connect(press, "id", None, rules=parse_rules({"b": {"start"}}))
    assert remembered.allowed == frozenset({"a"})
    entry.apply(parse_rules({"b": {"start"}}))
    assert registry.methods[b"t"].allowed == frozenset({"b"})
    assert repr(entry) == "<Entry 'Press' object, <Rules b: start>>"


NAMES = st.sampled_from(["start", "stop", "speed", "speed=", "kind", "*"])
PRINCIPALS = st.sampled_from(["alice", "bob", "operator", "*"])


@given(
    st.dictionaries(PRINCIPALS, st.frozensets(NAMES)),
    st.frozensets(PRINCIPALS).map(LET_IN.union),
    st.sampled_from(["start", "stop", "speed", "kind"]),
    st.sampled_from([0, 1, 2]),
)
def test_what_no_rule_grants_is_allowed_to_nobody(
    allow: dict[str, frozenset[str]], caller: frozenset[str], name: str, access: int
) -> None:
    is_method = name in ("start", "stop")
    if is_method == bool(access):
        return
    granted: set[str] = set().union(*(allow.get(who, frozenset()) for who in caller))
    needed = {"*", name} if access == 0 else {name if access == 1 else name + "="}
    assert bool(allowed(connected(Press(), allow), name, access) & caller) == bool(granted & needed)


def test_the_error_is_among_those_of_the_package() -> None:
    assert gpyro.errors.AccessDeniedError is AccessDeniedError
    assert "AccessDeniedError" in gpyro.errors.__all__
    assert "AccessDeniedError" in (gpyro.errors.__doc__ or "")
