"""The system log and the user log: lines, levels, files, and standard logging beside them."""

from __future__ import annotations

import logging
import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gpyro import log
from gpyro.configuration import Settings, config
from gpyro.log import LoggerBase, SystemLogger, UserLogger


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(storage=str(tmp_path / "state"), tracelevel=3, user_tracelevel=3)


@pytest.fixture
def system(settings: Settings) -> SystemLogger:
    return SystemLogger(settings)


def read(settings: Settings) -> list[str]:
    return Path(settings.logfile).read_text().splitlines()


# -- lines


def test_lines_have_pyros_form(system: SystemLogger, settings: Settings) -> None:
    system.msg("src", "a", 1, None)
    system.warn("only one")
    system.error("e", ValueError("x"))
    system.raw("raw text")
    lines = read(settings)
    start = rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d \[{os.getpid()}:{threading.current_thread().name}\] "
    assert re.fullmatch(start + r"\*\* NOTE \*\* src \*\* a 1 None", lines[0])
    assert re.fullmatch(start + r"\*\* WARN \*\* N/A \*\* only one", lines[1])
    assert re.fullmatch(start + r"\*\* ERR! \*\* e \*\* x", lines[2])
    assert lines[3:] == ["raw text"]


def test_percent_signs_are_only_percent_signs(system: SystemLogger, settings: Settings) -> None:
    system.msg("100%", "%s %d %(x)s")
    system.raw("%s")
    assert read(settings)[0].endswith("** 100% ** %s %d %(x)s")
    assert read(settings)[1] == "%s"


def test_text_from_a_peer_cannot_make_a_second_entry(system: SystemLogger, settings: Settings) -> None:
    text = "one\r\n2026-11-22 [1:x] ** ERR! ** root ** two\rthree\u2028four\x85five\x1b[31m"
    system.msg("who\n2026-01-01", text)
    lines = read(settings)
    assert all(line.startswith(" | ") for line in lines[1:])
    assert lines[-3:] == [" | three", " | four", " | five\\x1b[31m"]
    assert sum(bool(re.match(r"\d{4}-", line)) for line in lines) == 1


def test_text_that_is_no_utf8_is_written_escaped(system: SystemLogger, settings: Settings) -> None:
    system.msg("src", "ü \udcff")
    assert read(settings)[0].endswith("ü \\udcff")


# -- levels


@pytest.mark.parametrize(
    ("level", "kinds"),
    [(0, []), (1, ["ERR!"]), (2, ["ERR!", "WARN"]), (3, ["ERR!", "WARN", "NOTE"])],
)
def test_trace_level_decides_what_goes_to_the_file(
    system: SystemLogger, settings: Settings, level: int, kinds: list[str]
) -> None:
    settings.tracelevel = level
    for write in (system.error, system.warn, system.msg):
        write("src", "text")
    system.raw("raw")
    if not kinds:
        assert not Path(settings.logfile).exists()
        return
    assert [line.split("** ")[1].strip() for line in read(settings)[:-1]] == kinds
    assert read(settings)[-1] == "raw"


def test_trace_level_is_read_live_through_a_snapshot(settings: Settings) -> None:
    settings.tracelevel = 0
    system = SystemLogger(settings.snapshot())
    system.error("src", "unseen")
    settings.tracelevel = 1
    system.error("src", "seen")
    assert len(read(settings)) == 1


def test_user_log_has_its_own_file_and_level(settings: Settings) -> None:
    settings.tracelevel = 0
    UserLogger(settings).msg("me", "hello")
    assert Path(settings.user_logfile).read_text().endswith("** NOTE ** me ** hello\n")
    assert not Path(settings.logfile).exists()


def test_stdlogging_turns_the_files_off(system: SystemLogger, settings: Settings) -> None:
    settings.stdlogging = True
    system.error("src", "text")
    system.raw("raw")
    assert not Path(settings.storage).exists()


# -- the file


def test_file_and_its_directory_are_made_for_this_user_alone(system: SystemLogger, settings: Settings) -> None:
    old = os.umask(0)
    try:
        system.msg("src", "text")
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(settings.logfile).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(settings.storage).st_mode) == 0o700


def test_nothing_is_made_before_the_first_entry(system: SystemLogger, settings: Settings) -> None:
    assert repr(system) == f"<SystemLogger level 3 to {settings.logfile}>"
    assert not Path(settings.storage).exists()


def test_file_that_was_moved_away_is_made_again(system: SystemLogger, settings: Settings) -> None:
    system.raw("one")
    os.rename(settings.logfile, settings.logfile + ".1")
    system.raw("two")
    assert read(settings) == ["two"]


def test_no_descriptor_stays_open(system: SystemLogger, settings: Settings) -> None:
    system.raw("one")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(20):
        system.raw("more")
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before


def lay_link(path: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    path.symlink_to(tmp_path / "precious")


def lay_pipe(path: Path, tmp_path: Path) -> None:
    os.mkfifo(path)


def lay_directory(path: Path, tmp_path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("lay", [lay_link, lay_pipe, lay_directory])
def test_link_pipe_or_directory_in_place_of_the_file_is_told_once_and_harms_nobody(
    system: SystemLogger,
    settings: Settings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    lay: Callable[[Path, Path], None],
) -> None:
    Path(settings.storage).mkdir()
    lay(Path(settings.logfile), tmp_path)
    with caplog.at_level(logging.WARNING, "gpyro"):
        system.error("src", "first")
        system.error("src", "second")
    told = [record.getMessage() for record in caplog.records]
    assert [text for text in told if not text.startswith("log file")] == ["src: first", "src: second"]
    assert sum(text.startswith(f"log file {settings.logfile!r} cannot be written: ") for text in told) == 1
    if lay is lay_link:
        assert (tmp_path / "precious").read_text() == "mine"


def test_file_that_failed_is_told_again_after_it_worked(
    system: SystemLogger, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(settings.logfile)
    for _ in range(2):
        path.mkdir(parents=True)
        system.raw("fails")
        path.rmdir()
        system.raw("works")
        path.unlink()
    assert sum("cannot be written" in record.getMessage() for record in caplog.records) == 2


# -- standard logging


def test_every_entry_goes_to_standard_logging_whatever_the_trace_level(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.tracelevel = settings.user_tracelevel = 0
    with caplog.at_level(logging.DEBUG, "gpyro"):
        SystemLogger(settings).msg("src", "note", 1)
        SystemLogger(settings).warn("src", "50%")
        SystemLogger(settings).error("alone")
        SystemLogger(settings).raw("raw")
        UserLogger(settings).msg("me", "note")
    assert caplog.record_tuples == [
        ("gpyro", logging.INFO, "src: note 1"),
        ("gpyro", logging.WARNING, "src: 50%"),
        ("gpyro", logging.ERROR, "N/A: alone"),
        ("gpyro", logging.INFO, "raw"),
        ("gpyro.user", logging.INFO, "me: note"),
    ]


def test_standard_logging_names_the_line_that_logs(system: SystemLogger, caplog: pytest.LogCaptureFixture) -> None:
    system.warn("src", "text")
    assert caplog.records[0].funcName == "test_standard_logging_names_the_line_that_logs"


def test_library_adds_no_handlers_and_sets_no_levels() -> None:
    for name in ("gpyro", "gpyro.user"):
        assert logging.getLogger(name).handlers == []
        assert logging.getLogger(name).level == logging.NOTSET
        assert logging.getLogger(name).propagate


def test_warning_in_a_program_without_logging_is_seen_on_stderr(tmp_path: Path) -> None:
    program = "from gpyro.log import Log; Log.msg('NameServer', 'note'); Log.warn('NameServer', 'it is late')"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GPYRO_STORAGE": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stderr == "NameServer: it is late\n"
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_module_has_the_process_log_under_pyros_name() -> None:
    assert log.Log is log.system_log
    assert isinstance(log.Log, SystemLogger)
    assert isinstance(log.Log, LoggerBase)
    assert log.Log.settings is config
    assert log.logger is logging.getLogger("gpyro")
