"""The echo server: its object, and its run inside this process."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import gpyro
from gpyro import echoserver, util
from gpyro.daemon import Daemon
from gpyro.errors import DaemonError, NamingError
from gpyro.objects import build_table
from tests.support.programs import free_port


@pytest.fixture
def served() -> Any:
    """A proxy of an echo server in another thread."""
    daemon = Daemon(port=0, norange=True)
    uri = daemon.connect(echoserver.EchoServer())
    thread = threading.Thread(target=daemon.requestLoop)
    thread.start()
    proxy = gpyro.Proxy(uri)
    yield proxy
    proxy._release()
    daemon.shutdown()
    thread.join(20)


def test_echo_server_has_exactly_two_methods() -> None:
    assert sorted(build_table(echoserver.EchoServer()).methods) == ["echo", "error"]


@pytest.mark.smoke
def test_echo_returns_what_it_was_given(served: Any) -> None:
    for value in ("hello world", (1, [2.5, None]), {"a": {1, 2}}, b"\0" * 100_000):
        assert served.echo(value) == value
        assert type(served.echo(value)) is type(value)


def test_error_shows_the_remote_traceback_once_under_the_local_one(served: Any) -> None:
    with pytest.raises(ZeroDivisionError) as error:
        served.error()
    text = "".join(util.getPyroTraceback(error.value))
    # On Python 3.10 pytest brings a back-port that prints notes, which nobody there expects.
    assert text.count("return 1 // 0") == 1 or not hasattr(error.value, "add_note")
    assert text.index("test_echoserver.py") < text.index("Remote traceback") < text.index("return 1 // 0")


def test_verbose_echo_server_prints_calls_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    server = echoserver.EchoServer(verbose=True)
    server.echo("red \x1b[31m")
    with pytest.raises(ZeroDivisionError):
        server.error()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(r" - echo: red \x1b[31m")
    assert lines[1].endswith(" - error: generating exception")


def test_echo_server_is_quiet_unless_it_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    echoserver.EchoServer().echo("x")
    assert capsys.readouterr().out == ""


def test_naming_without_a_name_server_is_refused_and_nothing_listens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from gpyro._naming import locating
    from gpyro.configuration import Settings

    settings = Settings(storage=str(tmp_path), ns_port=free_port(), ns_broadcast=False)
    monkeypatch.setattr(locating, "config", settings)
    port = free_port()
    with pytest.raises(NamingError, match="could not find a name server"):
        echoserver.serve(port=port, naming=True)
    Daemon(port=port, norange=True).shutdown()


def test_echo_server_beyond_this_machine_is_refused_without_insecure() -> None:
    with pytest.raises(DaemonError, match="insecure_no_auth"):
        echoserver.serve("0.0.0.0")
