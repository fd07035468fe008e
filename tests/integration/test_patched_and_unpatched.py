"""One program, unchanged, in a plain process and in one that gevent has patched; and all pairs of the two."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.programs import PROGRAMS, Program, make_environment, run


@pytest.mark.parametrize("kind", ["plain", "patched"])
def test_program_with_threads_serves_and_calls(tmp_path: Path, kind: str) -> None:
    ended = run([str(PROGRAMS / "loops_threads.py"), kind], make_environment(tmp_path))
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["400 answers", "naps together True", "names []", "ended"]


@pytest.mark.parametrize("server_kind", ["plain", "patched"])
@pytest.mark.parametrize("client_kind", ["plain", "patched"])
def test_client_and_server_processes(tmp_path: Path, server_kind: str, client_kind: str) -> None:
    environment = make_environment(tmp_path)
    with Program([str(PROGRAMS / "loops_threads.py"), server_kind, "serve"], environment) as server:
        uri = server.read_until("serving")
        client = run([str(PROGRAMS / "loops_threads.py"), client_kind, "call", uri], environment)
        assert (client.status, client.stderr) == (0, "")
        assert client.stdout.splitlines() == ["400 answers", "naps together True", "ended"]
        ended = server.stop()
        assert (ended.status, ended.stderr) == (0, "")


def test_connection_first_used_in_a_greenlet_of_a_patched_process_outlives_it(tmp_path: Path) -> None:
    """Where `threading` is patched each greenlet looks like a thread, whose end would close everything."""
    ended = run([str(PROGRAMS / "loops_greenlet_locals.py")], make_environment(tmp_path))
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["first 1", "second 2", "connections 1"]


def test_daemon_of_a_patched_process_does_not_wait_where_nothing_is_pending(tmp_path: Path) -> None:
    ended = run([str(PROGRAMS / "loops_patched_idle.py")], make_environment(tmp_path))
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout == "ended\n"
