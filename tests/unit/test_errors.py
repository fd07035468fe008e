"""The tree of errors: as its own page draws it, and with Pyro's names where Pyro has them."""

from __future__ import annotations

import re

import pytest

from gpyro import errors

#: Each error of Pyro 3 and what it is. Source: `Pyro.errors` of Pyro 3.16.
PYROS = {
    "PyroError": Exception,
    "URIError": errors.PyroError,
    "DaemonError": errors.PyroError,
    "NamingError": errors.PyroError,
    "NoModuleError": errors.PyroError,
    "ProtocolError": errors.PyroError,
    "ConnectionDeniedError": errors.ProtocolError,
    "ConnectionClosedError": errors.ProtocolError,
    "TimeoutError": errors.ConnectionClosedError,
}


@pytest.mark.parametrize("name", PYROS)
def test_errors_of_pyro_have_their_names_and_their_parent(name: str) -> None:
    assert PYROS[name] in getattr(errors, name).__bases__


def test_tree_at_the_top_of_the_module_is_the_tree_of_the_classes() -> None:
    assert errors.__doc__ is not None
    parents = ["PyroError"]
    drawn = {"PyroError": "Exception"}
    for dashes, name in re.findall(r"^    ([ ]*)\+-- (\w+)", errors.__doc__, re.MULTILINE):
        depth = len(dashes) // 4 + 1
        drawn[name] = parents[depth - 1]
        parents[depth:] = [name]
    (loose,) = re.findall(r"^    (\w+) \((\w+)\)", errors.__doc__, re.MULTILINE)
    drawn[loose[0]] = loose[1]
    assert drawn == {name: getattr(errors, name).__bases__[0].__name__ for name in errors.__all__}


def test_error_without_a_remote_side_has_no_remote_traceback() -> None:
    assert errors.NamingError("x").remote_stacktrace is None


@pytest.mark.parametrize(
    ("code", "text"),
    [(0, "unspecified reason"), (1, "server too busy"), (2, "host blocked"), (3, "security reasons"),
     (77, "unspecified reason")],
)  # fmt: skip
def test_denial_has_pyros_text_for_its_code(code: int, text: str) -> None:
    denied = errors.ConnectionDeniedError(code=code)
    assert (str(denied), denied.code) == (text, code)


def test_lost_connection_says_whether_the_call_may_have_run() -> None:
    assert not errors.ConnectionClosedError("connection lost").maybe_executed
    assert errors.TimeoutError("too late", maybe_executed=True).maybe_executed


def test_cancelled_call_is_not_caught_with_all_exceptions() -> None:
    assert not issubclass(errors.CallCancelled, Exception)
