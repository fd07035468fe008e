"""Errors of remote methods: the same type where it is known, the remote traceback with it, the server unharmed."""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
import traceback
import urllib.error
from typing import Any

import pytest

import gpyro
from tests.support.servers import running_daemon


class ShopError(Exception):
    """Registered on both sides."""

    def __init__(self, message: str, shelf: int = 0) -> None:
        super().__init__(message)
        self.shelf = shelf


class OnlyHereError(ValueError):
    """Never registered."""


class Stranger:
    """Never registered."""


gpyro.register(ShopError)


class Failing(gpyro.ObjBase):
    def fail(self, kind: str) -> Any:
        raise FAILURES[kind]

    def chain(self) -> None:
        try:
            FAILURES["missing"]
        except KeyError as exc:
            raise RuntimeError("outer") from exc

    def give(self) -> Exception:
        return ValueError("only a value")

    def unserialisable(self) -> object:
        return {"rows": [1, 2, Stranger()]}

    def takes_two(self, a: int, b: int) -> int:
        return a + b

    def ok(self) -> str:
        return "ok"


FAILURES: dict[str, BaseException] = {
    "builtin": ZeroDivisionError("division by zero"),
    "os": FileNotFoundError(2, "No such file", "x.txt"),
    "gpyro": gpyro.errors.NamingError("name not found: ':x'"),
    "registered": ShopError("sold out", 7),
    "unknown": OnlyHereError("nobody knows me"),
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "generator": GeneratorExit(),
}


@pytest.mark.parametrize("kind", ["builtin", "os", "gpyro", "registered"])
def test_error_of_a_known_class_arrives_as_itself(kind: str) -> None:
    with running_daemon() as running:
        proxy = running.proxy(Failing())
        with pytest.raises(type(FAILURES[kind])) as info:
            proxy.fail(kind)
        assert type(info.value) is type(FAILURES[kind])
        assert str(info.value) == str(FAILURES[kind])
        assert info.value.__dict__.get("shelf") == FAILURES[kind].__dict__.get("shelf")


def test_error_of_an_unknown_class_arrives_as_a_remote_error_that_names_it() -> None:
    with running_daemon() as running:
        with pytest.raises(gpyro.errors.RemoteError, match="nobody knows me") as info:
            running.proxy(Failing()).fail("unknown")
        assert info.value.remote_type.endswith("OnlyHereError")


@pytest.mark.parametrize("kind", ["exit", "interrupt", "generator"])
def test_error_that_would_end_a_process_ends_neither_side(kind: str) -> None:
    with running_daemon() as running:
        proxy = running.proxy(Failing())
        with pytest.raises(gpyro.errors.RemoteError, match=type(FAILURES[kind]).__name__):
            proxy.fail(kind)
        assert proxy.ok() == "ok"


def test_remote_traceback_is_on_the_error_in_the_pyro_traceback_and_under_a_printed_one() -> None:
    with running_daemon() as running:
        with pytest.raises(RuntimeError) as info:
            running.proxy(Failing()).chain()
    stacktrace = "".join(info.value.remote_stacktrace)  # type: ignore[attr-defined]
    assert "in chain" in stacktrace and "KeyError" in stacktrace
    assert "_connection" not in stacktrace, "gpyro's own frames are cut off"
    assert isinstance(info.value.__cause__, KeyError)
    assert "in chain" in "".join(gpyro.util.getPyroTraceback(info.value))
    if sys.version_info >= (3, 11):
        assert "in chain" in "".join(traceback.format_exception(info.value))


def test_exception_that_is_returned_is_a_value() -> None:
    with running_daemon() as running:
        value = running.proxy(Failing()).give()
        assert type(value) is ValueError and value.args == ("only a value",)


def test_value_that_cannot_travel_names_class_path_and_way_out_on_either_side() -> None:
    with running_daemon() as running:
        proxy = running.proxy(Failing())
        expected = r"result -> 'rows' -> \[2\]: .*Stranger.*register"
        with pytest.raises(gpyro.errors.SerializationError, match=expected):
            proxy.unserialisable()
        with pytest.raises(TypeError, match=r"argument 1 -> \[1\]"):
            proxy.takes_two([1, Stranger()], 2)
        assert proxy.takes_two(1, 2) == 3


def test_wrong_number_of_arguments_is_the_type_error_that_python_gives() -> None:
    with running_daemon() as running:
        proxy = running.proxy(Failing())
        with pytest.raises(TypeError, match="takes_two"):
            proxy.takes_two(1)
        with pytest.raises(TypeError, match="unexpected keyword"):
            proxy.takes_two(1, 2, c=3)
        assert proxy.takes_two(1, b=2) == 3


class Errands(gpyro.ObjBase):
    def take(self) -> None:
        queue.Queue(maxsize=1).get_nowait()

    def run(self) -> None:
        raise subprocess.CalledProcessError(3, ["ls", "x"], b"out")

    def fetch(self) -> None:
        raise urllib.error.URLError(socket.gaierror(-2, "Name or service not known"))

    def ask_back(self, callback: Any) -> str:
        try:
            callback.look()
        except socket.gaierror as exc:
            return f"caught {exc.errno}"
        return "nothing"


class Caller(gpyro.ObjBase):
    def look(self) -> None:
        raise socket.gaierror(-2, "Name or service not known")


def test_errors_of_the_library_are_caught_at_the_caller_by_their_class() -> None:
    with running_daemon() as running:
        proxy = running.proxy(Errands())
        with pytest.raises(queue.Empty):
            proxy.take()
        with pytest.raises(subprocess.CalledProcessError) as called:
            proxy.run()
        assert (called.value.returncode, called.value.output) == (3, b"out")
        with pytest.raises(urllib.error.URLError) as fetched:
            proxy.fetch()
        assert type(fetched.value.reason) is socket.gaierror


def test_errors_of_the_library_are_caught_at_the_server_that_called_back() -> None:
    with running_daemon() as running:
        assert running.proxy(Errands()).ask_back(Caller()) == "caught -2"
