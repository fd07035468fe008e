"""Exceptions of the standard library on the wire: as themselves where their module is imported."""

from __future__ import annotations

import asyncio
import concurrent.futures.process
import concurrent.futures.thread
import configparser
import contextlib
import decimal
import ftplib
import getopt
import http.client
import importlib
import io
import json
import multiprocessing
import queue
import re
import shutil
import socket
import sqlite3
import ssl
import struct
import subprocess
import sys
import urllib.error
import zipfile
from typing import Any

import ormsgpack
import pytest

from gpyro._serializers import library_errors
from gpyro.errors import RemoteError
from gpyro.serializers import Codec

CODEC = Codec()
NEWER = sys.version_info >= (3, 13)


def raised_there(exc: BaseException) -> Any:
    """Return an exception after its way to the other side, where it is to be raised."""
    return CODEC.decode_error(*CODEC.encode_error(exc, None))


def named(name: str, attributes: dict[str, bytes] | None = None) -> Any:
    """Return what becomes of an exception that a peer sends under this name."""
    fields = [name, "text", [b"\xa4text"], attributes or {}, None, None, None, None, False, None, None]
    return CODEC.decode_error(ormsgpack.packb(ormsgpack.Ext(41, ormsgpack.packb(fields))), ())


def caught(action: Any, *args: Any) -> Exception:
    try:
        action(*args)
    except Exception as exc:
        return exc
    raise AssertionError("nothing was raised")


def tables() -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("select * from nowhere")


REAL: list[Exception] = [
    queue.Full("the queue"),
    caught(queue.Queue().get_nowait),
    socket.gaierror(-2, "Name or service not known"),
    socket.herror(1, "Unknown host"),
    caught(subprocess.check_output, [sys.executable, "-c", "print(1); raise SystemExit(3)"]),
    subprocess.CalledProcessError(-9, "sleep", b"out", b"err"),
    subprocess.TimeoutExpired(["sleep", "9"], 0.5, b"out"),
    caught(tables),
    sqlite3.IntegrityError("UNIQUE constraint failed: t.a"),
    caught(configparser.ConfigParser().get, "a", "b"),
    caught(configparser.ConfigParser().read_string, "a=b"),
    configparser.DuplicateOptionError("a", "b", "file", 3),
    configparser.InterpolationMissingOptionError("o", "s", "raw", "ref"),
    urllib.error.URLError(socket.gaierror(-2, "Name or service not known")),
    caught(struct.unpack, "i", b""),
    caught(zipfile.ZipFile, io.BytesIO(b"no zip")),
    caught(json.loads, "{"),
    caught(decimal.Decimal(1).__truediv__, decimal.Decimal(0)),
    caught(decimal.Decimal, "x"),
    caught(re.compile, "a("),
    shutil.SameFileError("'a' and 'b' are the same file"),
    shutil.Error([("a", "b", "why")]),
    asyncio.TimeoutError(),
    asyncio.QueueEmpty(),
    caught(asyncio.run, asyncio.wait_for(asyncio.sleep(60), 0)),
    asyncio.IncompleteReadError(b"ab", 5),
    concurrent.futures.TimeoutError(),
    concurrent.futures.process.BrokenProcessPool("a child process ended"),
    multiprocessing.TimeoutError("late"),
    ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"),
    ssl.SSLCertVerificationError(1, "certificate verify failed"),
    caught(io.BytesIO().fileno),
    caught(getopt.getopt, ["-x"], "a"),
    http.client.IncompleteRead(b"ab", 5),
    http.client.BadStatusLine("''"),
    http.client.RemoteDisconnected("Remote end closed connection without response"),
    ftplib.error_perm("550 no such file"),
]


# Python 3.11 warns whoever looks at this attribute of one of configparser's.
@pytest.mark.filterwarnings("ignore:The 'filename' attribute:DeprecationWarning")
@pytest.mark.parametrize("exc", REAL, ids=lambda exc: type(exc).__name__)
def test_error_of_the_library_arrives_as_itself_with_what_it_tells(exc: Exception) -> None:
    there = raised_there(exc)
    assert type(there) is type(exc)
    assert str(there) == str(exc)
    # Decimal's hold classes, which travel as text.
    assert repr(there) == repr(exc) or isinstance(exc, decimal.DecimalException)
    # configparser's line is of a private subclass of str in Python 3.13, which does not travel.
    mine = {name: value for name, value in vars(exc).items() if name[0] != "_" and type(value).__name__ != "_Line"}
    theirs = {name: value for name, value in vars(there).items() if name != "remote_stacktrace"}
    assert {name: repr(value) for name, value in theirs.items()} == {k: repr(v) for k, v in mine.items()}
    for name in ("errno", "strerror", "filename", "stdout"):
        assert getattr(there, name, None) == getattr(exc, name, None)


def test_attributes_that_programs_read_are_there() -> None:
    there = raised_there(subprocess.CalledProcessError(3, ["ls", "x"], b"out", b"err"))
    assert (there.returncode, there.cmd, there.output, there.stdout, there.stderr) == (
        3, ["ls", "x"], b"out", b"out", b"err",
    )  # fmt: skip
    there = raised_there(caught(json.loads, '{"a": }'))
    assert (there.msg, there.doc, there.pos, there.lineno, there.colno) == ("Expecting value", '{"a": }', 6, 1, 7)
    assert raised_there(caught(re.compile, "a(")).pos == 1
    assert type(raised_there(urllib.error.URLError(socket.gaierror(-2, "x"))).reason) is socket.gaierror


def listed_here() -> list[tuple[str, type[Exception]]]:
    found = []
    for name, (module, attribute) in library_errors._PLACES.items():
        try:
            loaded = importlib.import_module(module)
        except ModuleNotFoundError:  # tomllib is not in Python 3.10
            continue
        if hasattr(loaded, attribute):
            found.append((name, getattr(loaded, attribute)))
    return found


@pytest.mark.parametrize(("name", "cls"), listed_here(), ids=lambda part: part if isinstance(part, str) else "")
def test_each_listed_name_is_that_class_and_runs_no_code_when_made_or_dropped(
    name: str, cls: type[Exception]
) -> None:
    there = named(name)
    assert type(there) is cls or (isinstance(there, RemoteError) and name in there.remote_type)
    assert library_errors.find_library_error(name) is cls
    assert library_errors.find_library_error(f"{cls.__module__}.{cls.__qualname__}") in (cls, None)
    assert cls is TimeoutError or f"{cls.__module__}.{cls.__qualname__}" in library_errors._PLACES
    made_in_python = [vars(base) for base in cls.__mro__ if base.__flags__ & (1 << 9)]
    for hook in ("__del__", "__new__", "__setattr__", "__getattribute__"):
        assert not any(hook in space for space in made_in_python)


def test_listed_names_are_there_in_this_python() -> None:
    missing = {name for name, _ in library_errors._PLACES.items()} - {name for name, _ in listed_here()}
    later = {"queue.ShutDown", "asyncio.queues.QueueShutDown", "configparser.MultilineContinuationError"}
    later |= {"tomllib.TOMLDecodeError", "tomllib._parser.TOMLDecodeError"}
    later |= {"asyncio.exceptions.BrokenBarrierError"}
    assert missing <= later
    assert not NEWER or not missing


def test_names_of_other_pythons_are_the_class_of_this_one() -> None:
    assert type(named("re.PatternError")) is type(named("re.error")) is re.error
    assert type(named("queue.Empty")) is type(named("_queue.Empty")) is queue.Empty
    assert type(named("asyncio.exceptions.TimeoutError")) is asyncio.TimeoutError
    assert type(named("concurrent.futures._base.TimeoutError")) is concurrent.futures.TimeoutError


def test_module_is_never_imported_for_what_a_peer_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "queue")
    there = named("queue.Full")
    assert isinstance(there, RemoteError)
    assert "queue" not in sys.modules


def test_own_module_under_a_name_of_the_library_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(Exception):
        pass

    class Module(type(sys)):  # type: ignore[misc]
        def __getattr__(self, name: str) -> Any:
            raise AssertionError("it was asked")

    own = Module("queue")
    monkeypatch.setitem(sys.modules, "queue", own)
    assert isinstance(named("queue.Full"), RemoteError)
    for found in (Full, KeyboardInterrupt, subprocess.Popen, "text"):
        own.Full = found
        assert isinstance(named("queue.Full"), RemoteError)


@pytest.mark.parametrize(
    "name", ["urllib.error.HTTPError", "subprocess.Popen", "socket.socket", "queue.Queue",
             "asyncio.CancelledError", "asyncio.exceptions.CancelledError", "tarfile.FilterError",
             "queue", "", "queue.Full.x", "Full"]
)  # fmt: skip
def test_what_is_not_listed_arrives_as_a_remote_error(name: str) -> None:
    assert isinstance(named(name), RemoteError)


def test_error_that_could_not_be_shown_without_what_did_not_travel_is_a_remote_error() -> None:
    there = raised_there(subprocess.CalledProcessError(3, ["ls", object()]))  # type: ignore[list-item]
    assert isinstance(there, RemoteError)
    assert there.remote_type == "subprocess.CalledProcessError"
    assert (there.returncode, "exit status 3" in str(there)) == (3, True)  # type: ignore[attr-defined]


def test_hostile_attributes_do_not_become_private_ones_or_methods() -> None:
    there = named("queue.Full", {name: b"\x01" for name in ("__class__", "_x", "with_traceback", "args", "fine")})
    assert type(there) is queue.Full
    assert {name for name in vars(there) if name != "remote_stacktrace"} == {"fine"}


def test_remote_error_shows_that_it_is_one() -> None:
    assert repr(named("queue.Strange")) == "RemoteError('queue.Strange: text')"
    error = type("Silent", (Exception,), {"__module__": "shop"})()
    assert repr(raised_there(error)) == "RemoteError('shop.Silent')"


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("subprocess.CalledProcessError", {"returncode": "a", "cmd": "c"}),
        ("http.client.IncompleteRead", {"partial": 5, "expected": None}),
        ("urllib.error.URLError", {"reason": (1, 2)}),
        ("configparser.NoSectionError", {"message": 5, "section": "a"}),
    ],
)
def test_error_that_could_not_be_shown_is_a_remote_error(name: str, attributes: dict[str, Any]) -> None:
    packed = {key: ormsgpack.packb(value) for key, value in attributes.items()}
    there = named(name, packed)
    assert isinstance(there, RemoteError)
    assert there.remote_type == name
    assert str(there)
