"""What a program learns of what happened: remote tracebacks of all kinds, and the two logs."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from gevent import subprocess

import gpyro
from gpyro._hub.stream import Stream
from gpyro.errors import PyroError
from tests.support.programs import Ended, make_environment, run
from tests.support.servers import running_daemon


class Till(gpyro.ObjBase):
    def __init__(self, other: Any = None) -> None:
        super().__init__()
        self.other = other

    def pay(self, coins: list[int]) -> float:
        price = 3
        return price / (sum(coins) - price)

    def send_on(self, coins: list[int]) -> float:
        result: float = self.other.pay(coins)
        return result

    def send_far(self, coins: list[int]) -> float:
        result: float = self.other.send_on(coins)
        return result


def lines_of(method: Any, *args: Any) -> list[str]:
    """Return the remote traceback of a call that divides by zero."""
    with pytest.raises(ZeroDivisionError) as caught:
        method(*args)
    error: Any = caught.value
    lines: list[str] = error.remote_stacktrace
    return lines


# -- tracebacks


def test_values_of_local_variables_are_shown_while_the_setting_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_daemon() as server:
        till = server.proxy(Till())
        plain = lines_of(till.pay, [1, 2])
        monkeypatch.setattr(gpyro.config, "detailed_traceback", True)
        detailed = lines_of(till.pay, [1, 2])
        assert detailed[: len(plain)] == plain
        assert re.fullmatch(r"Local variables of pay at .*test_tracing\.py, line \d+:\n", detailed[len(plain)])
        assert detailed[-2:] == ["    coins = [1, 2]\n", "    price = 3\n"]
        monkeypatch.setattr(gpyro.config, "detailed_traceback", False)
        assert lines_of(till.pay, [1, 2]) == plain


def test_error_that_comes_through_three_servers_has_the_traceback_of_each_once() -> None:
    with running_daemon() as server:
        near = server.proxy(Till())
        middle = server.proxy(Till(near))
        far = server.proxy(Till(middle))
        text = "".join(lines_of(far.send_far, [3]))
        places = [text.index(f"in {name}\n") for name in ("send_far", "send_on", "pay")]
        assert places == sorted(places)
        assert text.count("Traceback (most recent call last):") == 3
        assert text.count("ZeroDivisionError: division by zero") == 3


def test_traceback_stays_here_where_somebody_from_elsewhere_has_not_proved_who_he_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Stream, "is_local", lambda self: False)
    with running_daemon() as server:
        till = server.proxy(Till())
        with pytest.raises(ZeroDivisionError) as caught:
            till.pay([3])
        error: Any = caught.value
        assert error.remote_stacktrace is None
        server.daemon.setAllowedIdentifications(["open sesame"])
        till._setIdentification("open sesame")
        assert "in pay" in "".join(lines_of(till.pay, [3]))


PROGRAM_THAT_FAILS = """
import sys, gpyro, gpyro.util
sys.excepthook = gpyro.util.excepthook
gpyro.Proxy(sys.argv[1]).pay([3])
"""


def test_program_that_ends_with_a_remote_error_prints_both_tracebacks_in_pyros_shape() -> None:
    with running_daemon() as server:
        uri = server.connect(Till())
        # gevent's, as the server goes on meanwhile.
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM_THAT_FAILS, uri], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            universal_newlines=True,
        )  # fmt: skip
    local, remote = done.stderr.split(" +--- This exception occurred remotely - Remote traceback:\n")
    assert done.returncode == 1
    assert local.startswith("Traceback (most recent call last):\n")
    assert local.endswith("ZeroDivisionError: division by zero\n")
    assert remote.startswith(" | Traceback (most recent call last):\n |   File ")
    assert remote.endswith(" | ZeroDivisionError: division by zero\n +--- End of remote traceback\n")


# -- logs

#: As in Pyro's manual, chapter 4: the user log is the program's, the system log gpyro's.
PROGRAM_THAT_LOGS = """
import gpyro
from gpyro.log import Log, SystemLogger, UserLogger
gpyro.initServer()
gpyro.initClient()
mine = UserLogger()
mine.msg("till", "paid", 3, "coins")
mine.warn("till", "nearly empty")
mine.error("only what happened")
mine.raw("as it is")
Log.msg("till", "in the system log")
"""
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[\d+:MainThread\] "


def log(storage: Path, **settings: object) -> Ended:
    ended = run(["-c", PROGRAM_THAT_LOGS], make_environment(storage, **settings))
    assert (ended.status, ended.stdout) == (0, "")
    return ended


def test_both_logs_are_written_to_their_files_as_pyro_writes_them(tmp_path: Path) -> None:
    log(tmp_path, tracelevel=3, user_tracelevel=3)
    assert sorted(os.listdir(tmp_path)) == ["Pyro_log", "Pyro_userlog"]
    lines = (tmp_path / "Pyro_userlog").read_text().splitlines()
    assert re.fullmatch(STAMP + r"\*\* NOTE \*\* till \*\* paid 3 coins", lines[0])
    assert re.fullmatch(STAMP + r"\*\* WARN \*\* till \*\* nearly empty", lines[1])
    assert re.fullmatch(STAMP + r"\*\* ERR! \*\* N/A \*\* only what happened", lines[2])
    assert lines[3:] == ["as it is"]
    server, client, own = (tmp_path / "Pyro_log").read_text().splitlines()
    assert re.match(STAMP + r"\*\* NOTE \*\* initServer \*\* active settings: port=", server)
    assert re.match(STAMP + r"\*\* NOTE \*\* initClient \*\* active settings: port=", client)
    assert own.endswith("** NOTE ** till ** in the system log")


@pytest.mark.parametrize(("level", "kinds"), [(0, []), (1, ["ERR!"]), (2, ["WARN", "ERR!"])])
def test_trace_level_from_pyros_environment_decides_what_is_written(
    tmp_path: Path, level: int, kinds: list[str]
) -> None:
    environment = {**make_environment(tmp_path), "PYRO_USER_TRACELEVEL": str(level)}
    assert run(["-c", PROGRAM_THAT_LOGS], environment).status == 0
    file = tmp_path / "Pyro_userlog"
    written = file.read_text() if file.exists() else ""
    assert re.findall(r"\*\* (....) \*\* \S+ \*\*", written) == kinds
    assert not (tmp_path / "Pyro_log").exists()


def test_program_that_sets_up_standard_logging_gets_everything_there_and_no_files(tmp_path: Path) -> None:
    setup = 'import logging; logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s %(message)s")'
    environment = make_environment(tmp_path, stdlogging=1, tracelevel=3, user_tracelevel=3)
    ended = run(["-c", setup + PROGRAM_THAT_LOGS], environment)
    assert ended.status == 0
    shown = [line for line in ended.stderr.splitlines() if "active settings" not in line]
    assert shown == [
        "gpyro.user INFO till: paid 3 coins",
        "gpyro.user WARNING till: nearly empty",
        "gpyro.user ERROR N/A: only what happened",
        "gpyro.user INFO as it is",
        "gpyro INFO till: in the system log",
    ]
    assert os.listdir(tmp_path) == []


# -- how a program begins


def test_banner_is_printed_if_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    gpyro.initClient()
    assert capsys.readouterr().out == ""
    gpyro.initClient(banner=1)
    assert capsys.readouterr().out == f"gpyro Client initialized. Using gpyro V{gpyro.__version__}\n"


def test_server_looks_whether_it_can_write_to_its_storage_and_a_client_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = tmp_path / "state" / "gpyro"
    monkeypatch.setattr(gpyro.config, "storage", str(storage))
    gpyro.initClient()
    gpyro.initServer(storageCheck=0)
    assert not storage.exists()
    gpyro.initServer()
    assert storage.stat().st_mode & 0o777 == storage.parent.stat().st_mode & 0o777 == 0o700
    storage.rmdir()
    storage.write_text("in the way")
    with pytest.raises(PyroError, match=r"storage directory '.*/gpyro' cannot be made: .*\(setting storage\)"):
        gpyro.initServer()
