"""What may be listed, what is refused, and that looking up never imports."""

from __future__ import annotations

import datetime
import functools
import subprocess
import sys
import types
from typing import Any

import pytest

import gpyro
from gpyro.errors import ConfigurationError, NoModuleError


class Order:
    class Line:
        pass

    @classmethod
    def parse(cls, text: str) -> str:
        return text


def make_order() -> Order:
    return Order()


HERE = __name__


def test_nothing_is_allowed_unless_it_is_listed() -> None:
    rules = gpyro.PickleRules()
    assert rules.allow == frozenset() and rules.trust_peer_completely is False
    assert repr(rules) == "<PickleRules allows built-in values only>"
    with pytest.raises(NoModuleError, match=r"'os'\.'system' is named by a pickled message.*PickleRules\(allow="):
        rules.find("os", "system")


def test_classes_functions_and_pairs_are_listed_by_their_exact_name() -> None:
    rules = gpyro.PickleRules(allow=[Order, make_order, Order.Line, Order.parse, ("datetime", "date"), len])
    assert rules.allow == {
        (HERE, "Order"), (HERE, "make_order"), (HERE, "Order.Line"), (HERE, "Order.parse"), ("datetime", "date"),
        ("builtins", "len"),
    }  # fmt: skip
    assert rules.find(HERE, "Order") is Order
    assert rules.find(HERE, "Order.Line") is Order.Line
    assert rules.find("datetime", "date") is datetime.date
    assert rules.find(HERE, "Order.parse")("x") == "x"
    for name in ("Order.__init__", "Order.Line.__class__", "order", "Order.", "Orde", "__builtins__"):
        with pytest.raises(NoModuleError):
            rules.find(HERE, name)
    assert f"{HERE}.Order.Line" in repr(rules)


def test_rules_do_not_change_and_compare_by_what_they_allow() -> None:
    rules = gpyro.PickleRules([Order])
    with pytest.raises(AttributeError):
        rules.allow = frozenset({("os", "system")})  # type: ignore[misc]
    assert rules == gpyro.PickleRules(allow=[(HERE, "Order")]) != gpyro.PickleRules()
    assert hash(rules) == hash(gpyro.PickleRules(iter([Order])))


PATTERNS: list[Any] = [
    "*", "Order", b"x", ["*"], ["orders"], ["orders.*"], [("orders", "*")], [("*", "Order")], [("orders.*",
    "Order")],
    [("", "Order")], [("orders", "")], [("orders", ".Order")], [("orders.", "Order")], [("orders", "Order.")],
    [("orders", "Ord?r")], [("orders", "f.<locals>.Order")], [("orders", "Order ")], [types], ("orders", "Order"),
]  # fmt: skip


@pytest.mark.parametrize("allow", PATTERNS, ids=repr)
def test_pattern_text_or_module_is_refused_and_the_way_out_is_named(allow: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"trust_peer_completely=True.*shell"):
        gpyro.PickleRules(allow)


NO_NAMES: list[Any] = [
    Order, 5, None, [5], [None], [Order()], [functools.partial(len)], [("orders",)], [("a", "b", "c")], [("a", 5)],
    [["orders", "Order"]], [lambda: None],
]  # fmt: skip


@pytest.mark.parametrize("allow", NO_NAMES, ids=repr)
def test_what_has_no_name_is_refused(allow: Any) -> None:
    with pytest.raises(ConfigurationError, match="allow"):
        gpyro.PickleRules(allow)


def test_class_that_is_not_found_under_its_own_name_is_refused() -> None:
    Impostor = type("Order", (), {"__module__": HERE})
    with pytest.raises(ConfigurationError, match="list what that name stands for"):
        gpyro.PickleRules([Impostor])
    Homeless = type("Homeless", (), {"__module__": "nowhere.at.all"})
    with pytest.raises(ConfigurationError, match="not imported here"):
        gpyro.PickleRules([Homeless])


def test_list_and_trust_at_once_are_refused() -> None:
    assert gpyro.PickleRules(trust_peer_completely=True).trust_peer_completely
    assert repr(gpyro.PickleRules(trust_peer_completely=True)) == "<PickleRules trust_peer_completely=True>"
    with pytest.raises(ConfigurationError, match="give one of both"):
        gpyro.PickleRules([Order], trust_peer_completely=True)


def test_looking_up_never_imports() -> None:
    assert "this" not in sys.modules and "antigravity" not in sys.modules
    rules = gpyro.PickleRules([("this", "s"), ("antigravity", "geohash")])
    for module, name in sorted(rules.allow):
        with pytest.raises(NoModuleError, match="not imported here; import it"):
            rules.find(module, name)
    assert "this" not in sys.modules and "antigravity" not in sys.modules


def test_lazy_names_of_a_module_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = types.ModuleType("lazy_module")
    asked: list[str] = []
    lazy.__dict__["__getattr__"] = asked.append
    monkeypatch.setitem(sys.modules, "lazy_module", lazy)
    with pytest.raises(NoModuleError, match="has no 'Thing' here"):
        gpyro.PickleRules([("lazy_module", "Thing")]).find("lazy_module", "Thing")
    assert asked == []


def test_module_behind_a_listed_name_is_refused() -> None:
    with pytest.raises(NoModuleError, match="is a module here"):
        gpyro.PickleRules([("os", "path")]).find("os", "path")


def test_rules_are_made_without_importing_pickle() -> None:
    program = (
        "import sys; from gpyro._serializers import limits\n"
        "before = 'pickle' in sys.modules\n"
        "import gpyro; gpyro.PickleRules(allow=[('a', 'B')])\n"
        "assert not [name for name in sys.modules if name.startswith('gpyro') and 'pickling' in name]\n"
        "print(before, 'pickle' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "False False\n", done.stderr
