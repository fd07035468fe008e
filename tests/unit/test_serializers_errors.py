"""Exceptions on the wire: the same type where it is known, a RemoteError that names it where not."""

from __future__ import annotations

import builtins
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import ormsgpack
import pytest

import gpyro.errors
from gpyro._serializers import faults, registry
from gpyro.errors import (
    CallCancelled,
    ConnectionClosedError,
    ConnectionDeniedError,
    NamingError,
    PyroError,
    RemoteError,
    RemoteProtocolError,
    SerializationError,
)
from gpyro.serializers import Codec, register
from gpyro.util import MAX_LINES, remote_note

CODEC = Codec()
#: ExceptionGroup is not in the builtins of the oldest Python that mypy checks for.
ANY_BUILTINS: Any = builtins
HAS_NOTES = sys.version_info >= (3, 11)


def raised_there(exc: BaseException, lines: list[str] | None = None) -> Any:
    """Return an exception after its way to the other side, where it is to be raised."""
    return CODEC.decode_error(*CODEC.encode_error(exc, lines))


def caught(raise_it: Any) -> BaseException:
    try:
        raise_it()
    except BaseException as exc:
        return exc
    raise AssertionError("nothing was raised")


#: An exception as it travels.
GOOD: list[Any] = ["builtins.ValueError", "t", [b"\x01"], {}, None, None, None, None, False, None, None]


def forged(fields: list[Any]) -> Any:
    """Return what becomes of an exception that a peer of bad will made."""
    return CODEC.decode_error(ormsgpack.packb(ormsgpack.Ext(41, ormsgpack.packb(fields))), ())


@pytest.fixture(autouse=True)
def restore_registry() -> Iterator[None]:
    tables: tuple[dict[Any, Any], ...] = (
        registry.BY_CLASS, registry.BY_NAME, registry.EXCEPTIONS, registry.EXCEPTION_NAMES, faults._made,
    )  # fmt: skip
    saved = [dict(table) for table in tables]
    yield
    for table, before in zip(tables, saved, strict=True):
        table.clear()
        table.update(before)


SPECIAL: dict[str, tuple[Any, ...]] = {
    "UnicodeDecodeError": ("utf-8", b"abc\xff", 3, 4, "invalid start byte"),
    "UnicodeEncodeError": ("ascii", "abc\ud800", 3, 4, "ordinal not in range"),
    "UnicodeTranslateError": ("abc", 1, 2, "no reason"),
    "SyntaxError": ("bad", ("file.py", 3, 5, "x = = 1")),
    "ExceptionGroup": ("group", [ValueError(1), TypeError((2,))]),
}
SPECIAL["IndentationError"] = SPECIAL["TabError"] = SPECIAL["SyntaxError"]
BUILTIN = sorted(
    {
        cls
        for name, cls in vars(builtins).items()
        if isinstance(cls, type) and issubclass(cls, Exception) and name[0] != "_"
    },
    key=lambda cls: cls.__name__,
)


@pytest.mark.parametrize("cls", BUILTIN, ids=lambda cls: cls.__name__)
def test_each_builtin_exception_arrives_as_itself(cls: type[Exception]) -> None:
    exc = cls(*SPECIAL.get(cls.__name__, ("what", (1, {2}))))
    there: Any = raised_there(exc, ["line\n"])
    assert type(there) is cls
    assert str(there) == str(exc)
    assert repr(there) == repr(exc)
    assert vars(there)["remote_stacktrace"] == ["line\n"]
    with pytest.raises(cls):
        raise there


@pytest.mark.parametrize("name", gpyro.errors.__all__)
def test_each_error_of_gpyro_arrives_as_itself(name: str) -> None:
    cls = getattr(gpyro.errors, name)
    there = raised_there(cls("what"))
    assert type(there) is cls or cls is CallCancelled
    assert str(there) == "what"
    assert isinstance(there, PyroError)
    assert there.remote_stacktrace is None


def test_attributes_of_gpyro_errors_arrive() -> None:
    there = raised_there(ConnectionDeniedError("no", ConnectionDeniedError.SECURITY))
    assert (str(there), there.code) == ("no", 3)
    assert raised_there(ConnectionClosedError("gone", maybe_executed=True)).maybe_executed is True


def test_oserror_keeps_errno_and_both_file_names() -> None:
    exc = caught(lambda: open("/nonexistent/file"))
    there = raised_there(exc)
    assert type(there) is FileNotFoundError
    assert (there.errno, there.strerror, there.filename) == (2, exc.strerror, "/nonexistent/file")  # type: ignore[attr-defined]
    assert str(there) == str(exc)
    there = raised_there(OSError(18, "cross-device", "a", None, "b"))
    assert (there.filename, there.filename2, str(there)) == ("a", "b", "[Errno 18] cross-device: 'a' -> 'b'")
    assert raised_there(BlockingIOError(11, "again", 5)).characters_written == 5
    assert raised_there(OSError("only text")).args == ("only text",)
    assert raised_there(OSError()).args == ()


def test_names_that_builtin_exceptions_carry_arrive() -> None:
    there = raised_there(caught(lambda: __import__("no_such_module_here")))
    assert (type(there), there.name) == (ModuleNotFoundError, "no_such_module_here")
    assert raised_there(ImportError("x", name="n", path="/p")).path == "/p"
    assert raised_there(caught(lambda: object().missing)).name == "missing"  # type: ignore[attr-defined]
    assert raised_there(StopIteration(5)).value == 5
    assert raised_there(caught(lambda: dict[str, int]()["key"])).args == ("key",)


@pytest.mark.parametrize("cls", [KeyboardInterrupt, SystemExit, GeneratorExit, BaseException, CallCancelled])
def test_what_would_end_the_callers_program_arrives_as_a_remote_error(cls: type[BaseException]) -> None:
    there = raised_there(cls("stop"))
    assert isinstance(there, RemoteError)
    assert isinstance(there, Exception)
    assert there.remote_type == f"{cls.__module__}.{cls.__qualname__}"
    assert there.args == ("stop",)
    assert type(there).__name__ == cls.__name__


def test_a_peer_cannot_name_a_class_that_is_not_an_exception() -> None:
    for name in ("builtins.eval", "os.system", "builtins.KeyboardInterrupt", "builtins.type"):
        there = forged([name, "text", [b"\x01"], *GOOD[3:]])
        assert isinstance(there, RemoteError)


# Classes of the user's


class Unknown(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(code)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


def test_unknown_class_becomes_a_remote_error_that_names_it() -> None:
    there = raised_there(Unknown(5, "broken"))
    assert issubclass(type(there), RemoteError)
    assert there.remote_type == f"{__name__}.Unknown"
    assert str(there) == "5: broken"
    assert there.args == (5,)
    assert (there.code, there.text) == (5, "broken")
    assert type(there) is type(raised_there(Unknown(6, "again")))
    assert type(there).__name__ == "Unknown"
    shown = "".join(traceback.format_exception_only(type(there), there))
    assert f"{__name__}.Unknown: 5: broken" in shown


def test_registered_class_arrives_as_itself_without_its_init() -> None:
    register(Unknown)
    there = raised_there(Unknown(5, "broken"))
    assert type(there) is Unknown
    assert (there.args, there.code, there.text, str(there)) == ((5,), 5, "broken", "5: broken")


def test_subclass_of_a_registered_class_is_not_registered() -> None:
    class Child(NamingError):
        pass

    assert type(raised_there(NamingError("a"))) is NamingError
    there = raised_there(Child("a"))
    assert isinstance(there, RemoteError)
    assert there.remote_type.endswith("Child")


def test_registered_subclasses_of_odd_builtins_arrive_whole() -> None:
    @register
    class Missing(FileNotFoundError):
        def __init__(self, path: str) -> None:
            super().__init__(2, "not there", path)
            self.extra = (1,)

    @register
    class Bad(UnicodeDecodeError):
        pass

    @register
    class Two(NamingError, KeyError):
        pass

    @register
    class Imports(ImportError):
        pass

    there = raised_there(Missing("/a"))
    assert type(there) is Missing
    assert (there.errno, there.filename, there.extra) == (2, "/a", (1,))
    assert raised_there(Bad("utf-8", b"\xff", 0, 1, "r")).reason == "r"
    assert type(raised_there(Two("x"))) is Two
    assert raised_there(Imports("x", name="n")).name == "n"


def test_registered_class_with_to_state_arrives_through_it_also_when_raised() -> None:
    class Custom(Exception):
        pass

    register(Custom, to_state=lambda exc: ["state", *exc.args], from_state=lambda state: Custom(*state[1:]))
    there = raised_there(Custom(1, 2), ["line\n"])
    assert type(there) is Custom
    assert there.args == (1, 2)
    assert vars(there)["remote_stacktrace"] == ["line\n"]
    register(Custom, to_state=lambda exc: object(), from_state=lambda state: Custom(*state))
    assert isinstance(raised_there(Custom(1)), RemoteError)


def test_arguments_that_do_not_fit_the_class_make_a_remote_error() -> None:
    exc = UnicodeDecodeError("utf-8", b"x", 0, 1, "r")
    exc.args = (1, 2)
    there = raised_there(exc)
    assert isinstance(there, RemoteError)
    assert there.remote_type == "builtins.UnicodeDecodeError"
    assert there.args == (1, 2)


def test_what_cannot_travel_in_an_exception_is_shown_or_left_out() -> None:
    class BadRepr:
        def __repr__(self) -> str:
            raise ValueError

    exc = ValueError(1, object(), [lambda: 0], BadRepr(), "\ud800", 10**5000, b"x" * 9000, {1: (2,)})
    exc.fine = {1: 2}  # type: ignore[attr-defined]
    exc.broken = object()  # type: ignore[attr-defined]
    exc._private = 1  # type: ignore[attr-defined]
    exc.with_traceback = 5  # type: ignore[assignment, method-assign]
    there = raised_there(exc)
    assert there.args[0] == 1
    assert "object object" in there.args[1]
    assert "lambda" in there.args[2]
    assert "BadRepr" in there.args[3]
    assert there.args[4] == "\ud800"
    assert isinstance(there.args[5], str)
    assert there.args[6:] == (b"x" * 9000, {1: (2,)})
    assert there.fine == {1: 2}
    assert not hasattr(there, "broken")
    assert not hasattr(there, "_private")
    assert callable(there.with_traceback)


def test_exception_whose_str_fails_still_arrives() -> None:
    class Rude(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no str")

        @property
        def remote_stacktrace(self) -> Any:
            raise RuntimeError("no stack")

    assert "Rude" in str(raised_there(Rude(1), ["x"]))


def test_class_of_an_argument_that_is_unknown_at_the_receiver_does_not_take_the_error_along() -> None:
    class Point:
        pass

    register(Point)
    body, parts = CODEC.encode_error(ValueError("text", Point()), None)
    del registry.BY_NAME[f"{Point.__module__}.{Point.__qualname__}"]
    there = CODEC.decode_error(body, parts)
    assert type(there) is ValueError
    assert there.args[0] == "text"
    assert "Point" in there.args[1]


# Chains, notes, groups, tracebacks


def test_cause_and_context_arrive() -> None:
    def with_cause() -> None:
        try:
            raise KeyError("inner")
        except KeyError as exc:
            raise ValueError("outer") from exc

    def with_context() -> None:
        try:
            raise KeyError("inner")
        except KeyError:
            raise ValueError("outer")  # noqa: B904

    def suppressed() -> None:
        try:
            raise KeyError("inner")
        except KeyError:
            raise ValueError("outer") from None

    there = raised_there(caught(with_cause))
    assert repr(there.__cause__) == "KeyError('inner')"
    assert there.__suppress_context__
    there = raised_there(caught(with_context))
    assert (there.__cause__, repr(there.__context__)) == (None, "KeyError('inner')")
    assert not there.__suppress_context__
    there = raised_there(caught(suppressed))
    assert (there.__cause__, there.__context__, there.__suppress_context__) == (None, None, True)


def test_long_and_circular_chains_are_cut() -> None:
    first: BaseException = ValueError(0)
    exc = first
    for number in range(1, 50):
        exc.__context__ = ValueError(number)
        exc.__cause__ = ValueError(-number)
        exc.__cause__.__context__ = first
        exc.__suppress_context__ = False
        exc = exc.__context__
    exc.__context__ = first
    there = raised_there(first)
    length = 0
    while there is not None:
        there, length = there.__context__, length + 1
    assert length == 9
    itself = ValueError(1)
    itself.args = (itself,)
    assert type(raised_there(itself)) is ValueError


def test_same_exception_in_two_values_keeps_its_cause_in_both() -> None:
    exc = ValueError(1)
    exc.__cause__ = KeyError(2)
    there = CODEC.decode_value(*CODEC.encode_value([exc, exc]))
    assert [repr(e.__cause__) for e in there] == ["KeyError(2)", "KeyError(2)"]


@pytest.mark.skipif(not HAS_NOTES, reason="add_note is new in Python 3.11")
def test_notes_arrive_and_the_remote_traceback_is_one() -> None:
    exc = ValueError("x")
    exc.add_note("a note \ud800")  # type: ignore[attr-defined]
    there = raised_there(exc, ["first\n", "second"])
    assert there.__notes__ == ["a note \\ud800", remote_note(["first\n", "second\n"])]
    assert " - Remote traceback:\n | first\n | second\n +---" in "".join(traceback.format_exception(there))


def test_second_hop_adds_its_lines_and_does_not_repeat_the_note() -> None:
    first = raised_there(ValueError("x"), ["inner\n"])
    second = raised_there(first, ["outer\n"])
    assert second.remote_stacktrace == ["outer\n", "inner\n"]
    assert second.__notes__ == [remote_note(["outer\n", "inner\n"])]


def test_traceback_of_many_hops_is_bounded_and_keeps_both_ends() -> None:
    exc: Any = ValueError("x")
    for hop in range(100):
        exc = raised_there(exc, [f"{hop}.{line}\n" for line in range(30)])
    assert len(exc.remote_stacktrace) <= MAX_LINES + 1
    assert exc.remote_stacktrace[0] == "99.0\n"
    assert exc.remote_stacktrace[-1] == "0.29\n"


def test_remote_traceback_cannot_steer_the_terminal_that_prints_it() -> None:
    there = raised_there(ValueError("x"), ["\x1b[2J\n"])
    assert there.__notes__ == [remote_note(["\\x1b[2J\n"])]


def test_without_lines_no_traceback_leaves_at_all() -> None:
    exc = raised_there(ValueError("x"), ["secret path\n"])
    exc.__cause__ = raised_there(KeyError("y"), ["secret too\n"])
    body, _ = CODEC.encode_error(exc, None)
    assert b"secret" not in body
    assert b"secret" not in CODEC.encode_value(exc)[0]
    assert raised_there(exc).remote_stacktrace is None
    with_lines = raised_there(exc, [])
    assert with_lines.remote_stacktrace == ["secret path\n"]
    assert with_lines.__cause__.remote_stacktrace == ["secret too\n"]


def test_remote_error_keeps_its_name_over_a_second_hop() -> None:
    there = raised_there(raised_there(Unknown(5, "broken"), ["a\n"]), ["b\n"])
    assert there.remote_type == f"{__name__}.Unknown"
    assert str(there) == "5: broken"
    assert there.remote_stacktrace == ["b\n", "a\n"]
    register(Unknown)
    assert type(raised_there(there)) is Unknown


@pytest.mark.skipif(not HAS_NOTES, reason="ExceptionGroup is new in Python 3.11")
def test_groups_arrive_with_their_members() -> None:
    group = ANY_BUILTINS.ExceptionGroup
    there = raised_there(group("outer", [ValueError(1), group("inner", [Unknown(2, "t"), OSError(2, "x")])]))
    assert type(there) is group
    assert there.message == "outer"
    assert repr(there.exceptions[0]) == "ValueError(1)"
    inner = there.exceptions[1].exceptions
    assert isinstance(inner[0], RemoteError)
    assert type(inner[1]) is FileNotFoundError
    mixed = ANY_BUILTINS.BaseExceptionGroup("base", [KeyboardInterrupt(), ValueError(1)])
    there = raised_there(mixed)
    assert type(there) is group
    assert [type(e).__name__ for e in there.exceptions] == ["KeyboardInterrupt", "ValueError"]


@pytest.mark.skipif(not HAS_NOTES, reason="ExceptionGroup is new in Python 3.11")
def test_group_is_a_remote_error_where_python_has_none() -> None:
    del registry.EXCEPTIONS["builtins.ExceptionGroup"]
    there = raised_there(ANY_BUILTINS.ExceptionGroup("g", [ValueError(1)]))
    assert isinstance(there, RemoteError)
    assert there.remote_type == "builtins.ExceptionGroup"
    assert [repr(member) for member in there.exceptions] == ["ValueError(1)"]  # type: ignore[attr-defined]
    assert isinstance(forged(["builtins.ExceptionGroup", "g", [], *GOOD[3:9], [], None]), RemoteError)


def test_exception_as_a_value_is_a_value() -> None:
    there = CODEC.decode_value(*CODEC.encode_value({"error": (ValueError("x", 1), Unknown(1, "t"))}))["error"]
    assert repr(there[0]) == "ValueError('x', 1)"
    assert isinstance(there[1], RemoteError)


# What a peer of bad will sends


def test_names_made_by_a_peer_are_bounded() -> None:
    def arrive(name: str) -> Any:
        return forged([name, "text", *GOOD[2:]])

    for number in range(1100):
        assert isinstance(arrive(f"module.Error{number}"), RemoteError)
    assert len(faults._made) <= 1000
    for odd in ("", "x" * 201, "a b", "a\x00b", "..", "1a", "a.", "é" * 10):
        there = arrive(odd)
        assert isinstance(there, RemoteError)
        assert there.remote_type == odd
        assert str(there) == "text"


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0, 5), (0, None), (1, 5), (2, None), (2, [5]), (2, {"a": b""}), (3, []), (3, {"a": 1}), (4, "x"),
        (4, [1]), (5, [b"x"]), (6, 5), (6, "x"), (7, [1]), (8, None), (8, 1), (9, [1]), (9, 5), (10, 5),
        (2, [b"\xc1"]), (2, [b""]), (3, {"a": b"\x92"}),
    ],
)  # fmt: skip
def test_exception_of_another_shape_is_a_protocol_error(index: int, value: Any) -> None:
    assert type(forged(GOOD)) is ValueError
    with pytest.raises(RemoteProtocolError):
        forged([*GOOD[:index], value, *GOOD[index + 1 :]])


def test_attributes_from_a_peer_cannot_hide_methods_or_go_below_the_surface() -> None:
    names = ["__class__", "__cause__", "_x", "args", "with_traceback", "remote_type", "errno", "fine"]
    there = forged(["builtins.OSError", "t", [b"\x01"], {name: b"\x05" for name in names}, *GOOD[4:]])
    assert type(there) is OSError
    assert callable(there.with_traceback)
    assert there.args == (1,)
    assert there.errno is None
    assert vars(there)["fine"] == 5
    assert not {"__class__", "__cause__", "_x", "args", "with_traceback", "remote_type"} & vars(there).keys()


def test_error_body_that_is_no_exception_is_a_protocol_error() -> None:
    for body in (b"\xc0", b"\x91\x01", b"", b"\xc1"):
        with pytest.raises(RemoteProtocolError):
            CODEC.decode_error(body, ())


def test_serialization_error_is_a_type_error_also_after_its_way() -> None:
    there = raised_there(SerializationError("x"))
    assert isinstance(there, TypeError)
