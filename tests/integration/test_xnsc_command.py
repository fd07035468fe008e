"""`gpyro xnsc` as a process of its own: somebody types and clicks, and a name server is changed."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import gpyro
from tests.support.display import Hands, display, needs_window
from tests.support.programs import Program, free_port, make_environment, run

XNSC = ["-m", "gpyro", "xnsc"]
#: Seconds that a closed window may live on: half of what its request would take.
END_SECONDS = 5.0


@pytest.fixture(scope="module")
def screen() -> Iterator[str]:
    with display() as name:
        yield name


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path, Program]]:
    """Port, address file and process of a name server."""
    port, storage = free_port(), tmp_path_factory.mktemp("storage")
    file = storage / "uri"
    environment = make_environment(storage, ns_port=port, ns_urifile=file)
    with Program(["-m", "gpyro", "ns", "-r"], environment) as program:
        program.read_until("Name Server started.")
        yield port, file, program


@pytest.fixture
def ns(server: tuple[int, Path, Program]) -> Iterator[gpyro.naming.NameServerProxy]:
    proxy = gpyro.naming.NameServerLocator().getNS("127.0.0.1", server[0])
    yield proxy
    proxy._release()


def environment(tmp_path: Path, screen: str, **settings: object) -> dict[str, str]:
    return {**make_environment(tmp_path, **settings), "DISPLAY": screen}


@needs_window
def test_names_are_registered_and_removed_by_keyboard_and_mouse(
    server: tuple[int, Path, Program], ns: gpyro.naming.NameServerProxy, screen: str, tmp_path: Path
) -> None:
    port = server[0]
    with Program(XNSC, environment(tmp_path, screen)) as program:
        hands = Hands(screen, "gpyro names")
        hands.wait_for_title("not connected")
        hands.click(200, 28)  # the host box
        hands.type(f"127.0.0.1:{port}")
        hands.press("Return")
        hands.wait_for_title(f"connected to 127.0.0.1:{port}")
        hands.press("alt+r")
        hands.wait_for_window("Register a name")
        # The name is half there: ":"
        hands.type("Default.typed")
        hands.press("Tab")
        hands.type("PYRO://127.0.0.1:7766/typed")
        with ns.watch(":") as events:
            hands.press("Return")
            assert next(events)[:2] == ("registered", ":Default.typed")
            assert str(ns.resolve(":Default.typed")) == "PYRO://127.0.0.1:7766/typed"
            hands.wait_for_end_of("Register a name")
            hands.click(200, 28)
            # To the button "Remove..." by Tab, and pressed by space.
            hands.press("Tab", "Tab", "Tab", "Tab", "Tab", "space")
            hands.wait_for_window("Remove a name")
            hands.type(":Default.typed")
            hands.press("Return")
            assert next(events)[:2] == ("unregistered", ":Default.typed")
        hands.wait_for_end_of("Remove a name")
        hands.press("ctrl+q")
        ended = program.finish()
        assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")


@needs_window
def test_auto_discover_button_finds_the_server_of_this_user(
    server: tuple[int, Path, Program], screen: str, tmp_path: Path
) -> None:
    settings = {"ns_urifile": server[1], "ns_port": free_port(), "ns_bc_addr": "127.255.255.255"}
    with Program(XNSC, environment(tmp_path, screen, **settings)) as program:
        hands = Hands(screen, "gpyro names")
        hands.wait_for_title("not connected")
        hands.click(925, 28)
        hands.wait_for_title(f"connected to 127.0.0.1:{server[0]}")
        hands.press("ctrl+q")
        assert program.finish().status == 0


@needs_window
def test_window_that_is_closed_while_a_request_hangs_ends_at_once(
    server: tuple[int, Path, Program], screen: str, tmp_path: Path
) -> None:
    port, _, name_server = server
    with Program([*XNSC, "-h", "127.0.0.1", "-p", str(port)], environment(tmp_path, screen)) as program:
        hands = Hands(screen, "gpyro names")
        hands.wait_for_title(f"connected to 127.0.0.1:{port}")
        name_server.process.send_signal(signal.SIGSTOP)
        try:
            hands.press("F5", "ctrl+q")
            assert program.process.wait(END_SECONDS) == 0
        finally:
            name_server.process.send_signal(signal.SIGCONT)


@needs_window
def test_window_that_is_closed_while_it_connects_ends_at_once(screen: str, tmp_path: Path) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        words = [*XNSC, "-h", "127.0.0.1", "-p", str(mute.getsockname()[1])]
        with Program(words, environment(tmp_path, screen, connect_timeout_seconds=60)) as program:
            hands = Hands(screen, "gpyro names")
            hands.wait_for_title("looking for a name server")
            hands.press("ctrl+q")
            assert program.process.wait(END_SECONDS) == 0


# -- where there is no window ------------------------------------------------------------------------------------


def test_missing_display_is_told_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("tkinter", reason="this Python has no Tk, which is told first")
    nowhere = make_environment(tmp_path)
    nowhere.pop("DISPLAY", None)
    ended = run(XNSC, nowhere)
    assert ended.status == 1
    assert ended.stderr.startswith("Error: there is no display: DISPLAY is not set; ")
    assert ended.stderr.count("\n") == 1
    ended = run(XNSC, {**nowhere, "DISPLAY": ":4711"})
    assert (ended.status, ended.stderr.count("\n")) == (1, 1)
    assert "cannot be opened on display ':4711'" in ended.stderr


def test_missing_tk_is_told_with_what_to_install(tmp_path: Path) -> None:
    # As on a Python that was built without Tk: the import of its inner module fails.
    (tmp_path / "_tkinter.py").write_text("raise ImportError('No module named _tkinter', name='_tkinter')")
    without = make_environment(tmp_path)
    without["PYTHONPATH"] = os.pathsep.join([str(tmp_path), without["PYTHONPATH"]])
    ended = run(XNSC, without)
    assert (ended.status, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    for words in ("python3-tk,", "python3-tkinter", "brew install python-tk"):
        assert words in ended.stderr


def test_accounts_are_refused_as_they_are_for_servers(tmp_path: Path) -> None:
    file = tmp_path / "accounts"
    file.write_text(gpyro.auth.format_verifier(gpyro.auth.Key("operator", bytes(range(32))).verifier()))
    file.chmod(0o600)
    ended = run([*XNSC, "--identification-file", str(file)], make_environment(tmp_path))
    assert ended.status == 2
    assert "holds accounts, which are for servers" in ended.stderr
