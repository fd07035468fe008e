"""The window of `gpyro xnsc` in this process, on a display of its own, with a real name server."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import gpyro
from tests.support.display import display, needs_window
from tests.support.names import emptied_afterwards
from tests.support.programs import SECONDS, Program, free_port, make_environment

pytestmark = needs_window

Ns = gpyro.naming.NameServerProxy
NS = ["-m", "gpyro", "ns", "-r"]
#: Ticks of 10 ms during a wait of a second that a window that waits itself does not come to.
FROZEN_TICKS = 10
#: Tcl ends the process when the last reference to an interpreter goes in another thread than its own, as happens
#: when the garbage is collected there; so none of them goes.
_interpreters: list[Any] = []


@pytest.fixture(scope="module")
def screen() -> Iterator[None]:
    """A display for this process."""
    before = os.environ.get("DISPLAY")
    with display() as name:
        os.environ["DISPLAY"] = name
        yield
    os.environ.pop("DISPLAY")
    if before is not None:
        os.environ["DISPLAY"] = before


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Program]]:
    """Port and process of a name server."""
    port = free_port()
    environment = make_environment(tmp_path_factory.mktemp("storage"), ns_port=port)
    with Program(NS, environment) as program:
        program.read_until("Name Server started.")
        yield port, program


@pytest.fixture
def ns(server: tuple[int, Program]) -> Iterator[Ns]:
    """The name server, emptied afterwards."""
    with emptied_afterwards(server[0]) as proxy:
        yield proxy


class Bench:
    """A window, and what a test does with it. Tk is used in this thread alone, as in the real program."""

    def __init__(self, **given: Any) -> None:
        import tkinter

        from gpyro_cli._xnsc.window import Window

        self.root = tkinter.Tk()
        _interpreters.append(self.root.tk)
        self.window = Window(self.root, **given)
        self.face = self.window.face
        self.ticks = 0

    def until(self, condition: Callable[[], object]) -> None:
        """Let Tk run until something is so."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"did not come; messages: {self.messages()!r}, {self.window!r}"
            self.root.update()
            # Wakes at once when there is something to do for Tk, as its main loop does.
            self.root.tk.eval("after 5 {set gpyro_tick 1}; vwait gpyro_tick")

    def connect(self, port: int) -> None:
        """Connect by Enter in the host box, and wait for the first names."""
        self.face.host.delete(0, "end")
        self.face.host.insert(0, f"127.0.0.1:{port}")
        self.enter(self.face.host)
        self.until(lambda: " Pyro" in self.face.names.rows())

    def enter(self, widget: Any) -> None:
        """Press Enter in a widget."""
        widget.focus_force()
        self.root.update()
        widget.event_generate("<Return>")

    def start_ticking(self) -> None:
        """Count how often Tk gets to do something."""
        self.ticks += 1
        self.window.later("tick of the test", 10, self.start_ticking)

    def messages(self) -> str:
        return self.face.messages.content()

    def tells(self, words: str) -> None:
        """Wait until the messages tell something."""
        self.until(lambda: words in self.messages())

    def form(self, button: str) -> Any:
        """Press a button and return the form that comes."""
        from gpyro_cli._xnsc.dialogs import Form, Reader

        def forms() -> list[Any]:
            return [child for child in self.face.frame.winfo_children() if isinstance(child, (Form, Reader))]

        self.face.buttons[button].invoke()
        self.until(forms)
        return forms()[0]

    def fill(self, form: Any, **values: str) -> None:
        """Type values into a form."""
        for key, value in values.items():
            widget = form.widgets[key]
            widget.delete("1.0" if widget.winfo_class() == "Text" else 0, "end")
            widget.insert("end", value)

    def select(self, *names: str) -> None:
        """Select names in the tree."""
        for name in names:
            self.until(partial(self.face.names.tree.exists, name))
        self.face.names.tree.selection_set(*names)
        self.face.names.tree.focus(names[0])

    def open(self, group: str) -> None:
        """Open a group as the keyboard does."""
        self.select(group)
        self.face.names.tree.focus_force()
        self.root.update()
        self.face.names.tree.event_generate("<space>")

    def has_other_rows(self, group: str, before: list[str]) -> bool:
        return self.face.names.rows(group) != before

    def usable(self) -> set[bool]:
        """Return whether the buttons that need a server can be pressed: {True}, {False}, or both."""
        return {not button.instate(["disabled"]) for button in self.face.buttons.values()}


@pytest.fixture
def make_bench(screen: None) -> Iterator[Callable[..., Bench]]:
    """Makes windows; they are gone afterwards, with all their threads."""
    benches: list[Bench] = []

    def make(**given: Any) -> Bench:
        benches.append(Bench(**given))
        return benches[-1]

    yield make
    while benches:
        window = benches.pop().window
        window.close()
        assert window.desk.close(SECONDS)
        del window


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


@pytest.fixture
def at(bench: Bench, server: tuple[int, Program], ns: Ns) -> Bench:
    """A window that is connected."""
    bench.connect(server[0])
    return bench


# -- connecting ------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_buttons_can_be_pressed_once_the_name_server_is_found(
    bench: Bench, server: tuple[int, Program], ns: Ns
) -> None:
    assert bench.usable() == {False}
    bench.connect(server[0])
    assert bench.usable() == {True}
    assert bench.root.title() == f"gpyro names - connected to 127.0.0.1:{server[0]}"
    bench.until(lambda: "1 name   ·   2 groups   ·   no twin" in bench.face.status.cget("text"))


def test_auto_discover_finds_the_server_of_the_address_file(
    bench: Bench, server: tuple[int, Program], ns: Ns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "uri"
    file.write_text(f"{ns.URI}\n")
    monkeypatch.setattr(gpyro.config, "ns_urifile", str(file))
    monkeypatch.setattr(gpyro.config, "ns_port", free_port())
    bench.window.discover()
    bench.until(lambda: " Pyro" in bench.face.names.rows())
    assert str(server[0]) in bench.root.title()


@pytest.mark.parametrize(("typed", "words"), [
    ("", "is no host"), ("two words", "is no host"), ("somewhere:99999", "'99999' is no port"),
])  # fmt: skip
def test_what_is_no_host_is_told_and_nothing_is_asked(bench: Bench, typed: str, words: str) -> None:
    bench.face.host.insert(0, typed)
    bench.enter(bench.face.host)
    bench.tells(words)
    assert bench.root.title() == "gpyro names - not connected"


def test_window_lives_on_while_a_mute_server_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpyro.config, "connect_timeout_seconds", 1.0)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        bench.face.host.insert(0, f"127.0.0.1:{mute.getsockname()[1]}")
        bench.enter(bench.face.host)
        bench.start_ticking()
        bench.until(lambda: bench.face.busy.cget("text") == "looking for a name server …")
        bench.tells("could not find a name server on host 127.0.0.1")
    assert bench.ticks > FROZEN_TICKS
    assert "the call took longer than it was allowed" in bench.messages()
    bench.until(lambda: bench.face.busy.cget("text") == "")
    assert bench.usable() == {False}


def test_server_that_is_slow_is_left_for_another_one(
    bench: Bench, server: tuple[int, Program], ns: Ns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpyro.config, "connect_timeout_seconds", 1.5)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        bench.face.host.insert(0, f"127.0.0.1:{mute.getsockname()[1]}")
        bench.enter(bench.face.host)
        bench.until(lambda: bench.face.busy.cget("text"))
        bench.connect(server[0])
        left = [thread for thread in threading.enumerate() if thread.name == "xnsc requests 1"]
        for thread in left:
            thread.join(SECONDS)
    bench.root.update()
    # What the first one says at last is not heard any more.
    assert "could not find" not in bench.messages()
    assert bench.root.title().endswith(f"connected to 127.0.0.1:{server[0]}")


def test_window_lives_on_while_a_request_hangs_and_the_request_ends_by_its_limit(
    bench: Bench, server: tuple[int, Program], ns: Ns, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpyro_cli._xnsc import window, worker

    monkeypatch.setattr(worker, "CALL_SECONDS", 1.0)
    monkeypatch.setattr(window, "STATUS_SECONDS", 0.2)
    bench.connect(server[0])
    bench.until(lambda: bench.face.status.cget("text"))
    server[1].process.send_signal(signal.SIGSTOP)
    try:
        bench.window.read_again()
        bench.start_ticking()
        bench.until(lambda: bench.face.busy.cget("text") == "reading : …")
        # Forms can be filled in meanwhile.
        bench.form("register").close()
        bench.tells("took longer than it was allowed")
        assert bench.ticks > FROZEN_TICKS
        bench.until(lambda: bench.root.title().endswith(f"no answer from 127.0.0.1:{server[0]}"))
    finally:
        server[1].process.send_signal(signal.SIGCONT)
    bench.tells("answers again")


def test_identification_is_asked_for_and_gone_once_it_was_right(
    make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    port = free_port()
    with Program([*NS, "-p", str(port), "-i", "s3cr3t"], make_environment(tmp_path)) as program:
        program.read_until("Name Server started.")
        bench = make_bench(host=f"127.0.0.1:{port}")
        bench.tells("security reasons")
        assert bench.root.title().endswith("not connected")
        bench.face.identification.insert(0, "wrong")
        before = len(bench.messages())
        bench.enter(bench.face.identification)
        bench.until(lambda: "security reasons" in bench.messages()[before:])
        # Still there, to be corrected.
        assert bench.face.identification.get() == "wrong"
        assert bench.face.identification.cget("show") == "•"
        bench.face.identification.delete(0, "end")
        bench.face.identification.insert(0, "s3cr3t")
        bench.connect(port)
        assert bench.face.identification.get() == ""
        # Once more: it has to be typed again.
        bench.enter(bench.face.host)
        bench.until(lambda: bench.root.title().endswith("not connected"))


def test_identification_that_was_given_connects_at_once(make_bench: Callable[..., Bench], tmp_path: Path) -> None:
    port = free_port()
    key = gpyro.auth.Key("operator", bytes(range(32)))
    accounts = tmp_path / "accounts"
    accounts.write_text(gpyro.auth.format_verifier(key.verifier()))
    accounts.chmod(0o600)
    words = [*NS, "-p", str(port), "--identification-file", str(accounts)]
    with Program(words, make_environment(tmp_path)) as program:
        program.read_until("Name Server started.")
        bench = make_bench(host=f"127.0.0.1:{port}", identification=key)
        bench.until(lambda: " Pyro" in bench.face.names.rows())
        # A key is not shown, and is there for the next time.
        bench.connect(port)


def test_caller_who_may_not_look_at_the_root_is_told_so(
    make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    port = free_port()
    rights = tmp_path / "rights"
    rights.write_text(":Plant  *  lookup,register,remove,admin\n")
    rights.chmod(0o600)
    words = [*NS, "-p", str(port), "--rights", str(rights)]
    with Program(words, make_environment(tmp_path)) as program:
        program.read_until("Name Server started.")
        bench = make_bench(host=f"127.0.0.1:{port}")
        bench.tells("Changes of others are not shown until F5: access denied")
        bench.until(lambda: bench.window.desk.busy == "")
        bench.until(lambda: bench.root.title().endswith(f"connected to 127.0.0.1:{port}"))
        form = bench.form("create_group")
        bench.fill(form, name=":Plant")
        form.submit()
        bench.tells("Group :Plant created.")
        assert bench.face.status.cget("text") == ""


# -- what the buttons do -----------------------------------------------------------------------------------------


def test_name_is_registered_with_the_form_and_removed_with_the_other(at: Bench, ns: Ns) -> None:
    at.open(":Default")
    form = at.form("register")
    at.fill(form, name="quotes", uri="PYRO://127.0.0.1:7766/quotes")
    at.enter(form.widgets["uri"])
    at.tells(":Default.quotes registered.")
    assert str(ns.resolve("quotes")) == "PYRO://127.0.0.1:7766/quotes"
    # It is shown, selected, and told of.
    at.until(lambda: at.window.selected() == [":Default.quotes"])
    at.until(lambda: "PYRO://127.0.0.1:7766/quotes" in at.face.details.content())
    form = at.form("remove")
    assert form.widgets["name"].get() == ":Default.quotes"
    form.button.invoke()
    at.tells(":Default.quotes removed.")
    at.until(lambda: not at.face.names.tree.exists(":Default.quotes"))
    assert ns.list(":Default") == []


def test_form_that_is_closed_changes_nothing(at: Bench, ns: Ns) -> None:
    ns.register(":Default.kept", "PYRO://127.0.0.1:7766/kept")
    at.open(":Default")
    at.select(":Default.kept")
    form = at.form("remove")
    form.focus_force()
    at.root.update()
    form.event_generate("<Escape>")
    at.until(lambda: not form.winfo_exists())
    at.window.read_again()
    at.until(lambda: at.face.names.rows(":Default") == [" kept"])
    assert len(ns.list(":Default")) == 1


def test_form_says_what_is_wrong_before_anything_is_asked(at: Bench) -> None:
    form = at.form("register")
    at.fill(form, name=":Default..x", uri="PYRO://127.0.0.1:7766/x")
    form.submit()
    assert "empty part at position 9" in form.fault.cget("text")
    at.fill(form, name=":Default.x", uri="nowhere")
    form.submit()
    assert "nowhere" in form.fault.cget("text")
    form.close()


def test_failure_is_told_and_the_form_remembers_what_was_typed(at: Bench, ns: Ns) -> None:
    ns.register(":Default.taken", "PYRO://127.0.0.1:7766/a")
    form = at.form("register")
    at.fill(form, name=":Default.taken", uri="PYRO://127.0.0.1:7766/b")
    form.submit()
    at.tells("name already exists: ':Default.taken'")
    form = at.form("register")
    assert form.widgets["uri"].get() == "PYRO://127.0.0.1:7766/b"
    form.widgets["member"].invoke()
    form.submit()
    at.tells(":Default.taken registered.")
    assert len(ns.resolve(":Default.taken", "all")) == 2


def test_group_is_created_and_deleted_with_all_in_it(at: Bench, ns: Ns) -> None:
    form = at.form("create_group")
    at.fill(form, name=":Plant")
    form.submit()
    at.tells("Group :Plant created.")
    ns.register(":Plant.press", "PYRO://127.0.0.1:7766/press")
    at.select(":Plant")
    form = at.form("delete_group")
    assert form.widgets["name"].get() == ":Plant"
    form.button.invoke()
    at.tells(":Plant deleted.")
    at.until(lambda: " Plant" not in at.face.names.rows())
    assert ("Plant", 0) not in ns.list(":")


def test_several_names_are_removed_at_one_go(at: Bench, ns: Ns) -> None:
    for name in "abc":
        ns.register(name, "PYRO://127.0.0.1:7766/x")
    at.open(":Default")
    at.select(":Default.a", ":Default.b", ":Default.c")
    at.form("remove").button.invoke()
    at.until(lambda: at.messages().count("removed.") == 3)
    assert ns.list(":Default") == []


def test_meta_is_set_shown_and_taken_away(at: Bench, ns: Ns) -> None:
    ns.register("press", "PYRO://127.0.0.1:7766/press")
    at.open(":Default")
    at.select(":Default.press")
    form = at.form("set_meta")
    at.fill(form, meta="{'room': 4}")
    form.widgets["python"].invoke()
    form.submit()
    at.tells("Meta of :Default.press set.")
    assert ns.getMeta("press") == {"room": 4}
    at.until(lambda: "{'room': 4}" in at.face.details.content())
    reader = at.form("show_meta")
    assert "{'room': 4}" in reader.text.get("1.0", "end")
    reader.close()
    form = at.form("set_meta")
    assert form.widgets["python"].instate(["selected"])
    at.fill(form, meta="")
    form.submit()
    at.tells("Meta of :Default.press taken away.")
    assert ns.getMeta("press") is None


def test_meta_that_is_no_python_value_is_refused_in_the_form(at: Bench, ns: Ns) -> None:
    form = at.form("set_meta")
    at.fill(form, name=":Default", meta="print(1)")
    form.widgets["python"].invoke()
    form.submit()
    assert "no plain Python value" in form.fault.cget("text")
    form.close()
    assert ns.getMeta(":Default") is None


# -- what is shown -----------------------------------------------------------------------------------------------


def test_what_others_do_is_shown_at_once(at: Bench, ns: Ns) -> None:
    at.open(":Default")
    at.until(lambda: at.face.names.rows(":Default") == ["(empty)"])
    ns.register("b", "PYRO://127.0.0.1:7766/b")
    at.until(lambda: at.face.names.rows(":Default") == [" b"])
    ns.register("a", "PYRO://127.0.0.1:7766/a")
    at.until(lambda: at.face.names.rows(":Default") == [" a", " b"])
    at.until(lambda: "3 names" in at.face.status.cget("text"))
    ns.unregister("b")
    at.until(lambda: at.face.names.rows(":Default") == [" a"])
    ns.createGroup(":Plant")
    at.until(lambda: " Plant" in at.face.names.rows())
    ns.deleteGroup(":Default")
    at.until(lambda: " Default" not in at.face.names.rows())


def test_details_follow_the_name_that_is_selected(at: Bench, ns: Ns) -> None:
    ns.register("press", "PYRO://127.0.0.1:7766/one")
    at.open(":Default")
    at.select(":Default.press")
    at.until(lambda: "PYRO://127.0.0.1:7766/one" in at.face.details.content())
    ns.register("press", "PYRO://127.0.0.1:7766/two", member=True)
    at.until(lambda: "PYRO://127.0.0.1:7766/two" in at.face.details.content())
    assert "Addresses" in at.face.details.content()


def test_thousands_of_names_come_page_by_page(at: Bench, ns: Ns) -> None:
    from gevent.pool import Pool

    names = [f"n{number:04}" for number in range(5000)]
    ns.createGroup(":Many")
    Pool(200).map(lambda name: ns.register(f":Many.{name}", "PYRO://127.0.0.1:7766/x"), names)
    at.open(":Many")
    at.until(lambda: len(at.face.names.rows(":Many")) == 501)
    assert at.face.names.rows(":Many")[-1] == "more…   (500 shown)"
    # Others go on meanwhile, before and behind what is shown.
    ns.register(":Many.a", "PYRO://127.0.0.1:7766/x")
    ns.register(":Many.z", "PYRO://127.0.0.1:7766/x")
    at.until(lambda: at.face.names.rows(":Many")[0] == " a")
    while at.face.names.rows(":Many")[-1].startswith("more"):
        before = at.face.names.rows(":Many")
        at.face.names.tree.focus(":Many/more")
        at.face.names.tree.event_generate("<Return>")
        at.until(partial(at.has_other_rows, ":Many", before))
    assert at.face.names.rows(":Many") == [" a", *(f" {name}" for name in names), " z"]


def test_search_shows_what_fits_and_follows_changes(at: Bench, ns: Ns) -> None:
    for name in ("press-1", "press-2", "oven"):
        ns.register(name, "PYRO://127.0.0.1:7766/x")
    at.face.pattern.insert(0, "press*")
    at.enter(at.face.pattern)
    at.until(lambda: at.face.found.rows() == [" :Default.press-1", " :Default.press-2"])
    ns.register("press-0", "PYRO://127.0.0.1:7766/x")
    ns.unregister("press-2")
    at.until(lambda: at.face.found.rows() == [" :Default.press-0", " :Default.press-1"])
    at.face.pattern.delete(0, "end")
    at.face.pattern.insert(0, "ove")
    at.enter(at.face.pattern)
    at.until(lambda: at.face.found.rows() == [" :Default.oven"])
    at.face.pattern.delete(0, "end")
    at.face.pattern.insert(0, ":Default.press-")
    at.enter(at.face.pattern)
    at.until(lambda: at.face.found.rows() == [" :Default.press-0", " :Default.press-1"])
    at.face.pattern.event_generate("<Escape>")
    at.until(lambda: not at.window.finder.is_on)
    at.until(at.face.names.winfo_ismapped)


class Ageing(gpyro.naming.NameServer):
    """A name server that is told behind which names nobody stands."""

    def __init__(self) -> None:
        super().__init__()
        self.stale: set[str] = set()

    def details(self, name: str) -> dict[str, Any]:
        known = super().details(name)
        for member in known["members"]:
            member["leased"] = True
            member["stale"] = known["name"] in self.stale
        return known

    def status(self) -> dict[str, Any]:
        return {**super().status(), "stale_leases": len(self.stale)}


def test_stale_names_are_grey_until_their_process_is_back(bench: Bench) -> None:
    ageing = Ageing()
    ageing.register("gone", "PYRO://127.0.0.1:7766/gone")
    ageing.register("here", "PYRO://127.0.0.1:7766/here")
    ageing.stale.add(":Default.gone")
    with gpyro.Daemon(port=0, norange=True) as daemon:
        daemon.useNameServer(ageing)
        daemon.connect(ageing, gpyro.naming.NAMESERVER_NAME)
        thread = threading.Thread(target=daemon.requestLoop, name="server")
        thread.start()
        try:
            bench.connect(daemon.port)
            bench.open(":Default")
            bench.until(lambda: bench.face.names.rows(":Default") == [" gone  (stale)", " here"])
            assert bench.face.names.is_stale(":Default.gone")
            bench.until(lambda: "1 stale" in bench.face.status.cget("text"))
            bench.select(":Default.gone")
            bench.until(lambda: "has not been heard of" in bench.face.details.content())
            ageing.stale = {":Default.here"}
            ageing._log.note("alive", [":Default.gone"])
            ageing._log.note("stale", [":Default.here"])
            bench.until(lambda: bench.face.names.rows(":Default") == [" gone", " here  (stale)"])
            assert not bench.face.names.is_stale(":Default.gone")
        finally:
            daemon.shutdown(True)
            thread.join(SECONDS)


def test_server_that_stops_answering_is_told_and_so_is_its_return(
    make_bench: Callable[..., Bench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpyro_cli._xnsc import window as room

    monkeypatch.setattr(room, "STATUS_SECONDS", 0.1)
    port = free_port()
    words = [*NS, "-p", str(port)]
    with Program(words, make_environment(tmp_path)) as program:
        program.read_until("Name Server started.")
        bench = make_bench(host=f"127.0.0.1:{port}")
        bench.until(lambda: " Pyro" in bench.face.names.rows())
        program.stop(signal.SIGTERM)
    bench.until(lambda: bench.root.title().endswith(f"no answer from 127.0.0.1:{port}"))
    with Program(words, make_environment(tmp_path)) as program:
        program.read_until("Name Server started.")
        gpyro.naming.NameServerLocator().getNS("127.0.0.1", port).createGroup(":New")
        bench.tells(f"127.0.0.1:{port} answers again.")
        # Its names are others.
        bench.until(lambda: " New" in bench.face.names.rows())


def test_repr_tells_the_state(at: Bench, server: tuple[int, Program]) -> None:
    assert repr(at.window).startswith(f"<Window 'gpyro names - connected to 127.0.0.1:{server[0]}', <NameTree ")
    at.until(lambda: ", 0 jobs asked for" in repr(at.window.desk))
    session = f"with 127.0.0.1 port {server[0]}, watching, 0 jobs wait>"
    assert repr(at.window.desk).endswith(f"{session}, 0 jobs asked for>")
    assert repr(at.window.finder) == "<Finder idle>"
    assert repr(at.face) == f"<Face 'gpyro names - connected to 127.0.0.1:{server[0]}'>"
