"""The documents: their links lead somewhere, and their Python runs as typed."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpyro._events import clients, courier, link, namedqueue, options, session, subjects
from gpyro._patterns import linear
from gpyro._pyro3.settings import NAMES, UNUSED
from gpyro._serializers.byvalue import HOOKS
from gpyro.configuration import ITEMS, NOT_USED
from gpyro.errors import PatternError
from gpyro.eventserver import EventService
from gpyro.naming import parse_rights
from gpyro.patterns import MAX_PATTERN_LENGTH, compile_regex
from tests.support.events import event_server
from tests.support.programs import Program, free_port, make_environment, run
from tests.support.pyro3_api import symbols

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)#]+)(?:#[^)]*)?\)")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(document: Path) -> list[str]:
    return BLOCK.findall(document.read_text())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_to_a_file(document: Path) -> None:
    links = [link for link in LINK.findall(document.read_text()) if "://" not in link]
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_blocks_of_the_usage_page_run_one_after_another_in_one_process() -> None:
    program = "\n".join(blocks(ROOT / "docs" / "usage.md"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("PYRO://127.0.0.1:") == 3
    assert done.stdout.endswith("0 %\n50 %\n100 %\ndone\nnothing to do\n")


def test_the_blocks_of_the_access_page_run_and_its_error_and_its_rights_are_as_shown() -> None:
    document = ROOT / "docs" / "access.md"
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks(document))], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert f"    {done.stdout}" in document.read_text()
    lines = re.search(r"(^    # plant.rights\n.*?)\n\n", document.read_text(), re.MULTILINE | re.DOTALL)
    assert lines and repr(parse_rights(lines[1])) == "<Rights in :Plant, :Plant.safety, :Pyro>"


def test_the_blocks_of_the_page_on_pyro3_run_and_its_table_has_all_45_settings() -> None:
    document = ROOT / "docs" / "pyro3.md"
    program = "\n".join(blocks(document))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PYRO://localhost:")
    assert done.stdout.endswith("\n3 :Default\n")
    rows = re.findall(r"^\| `(PYRO\w+)` \| (.*?) \| `(.*?)` \| (.*?) \|$", document.read_text(), re.MULTILINE)
    assert [name for name, *_ in rows] == [
        symbol.name.rpartition(".")[2] for symbol in symbols() if symbol.name.startswith("Pyro.config.")
    ]
    for name, ours, default, text in rows:
        if name in NAMES:
            item = ITEMS[NAMES[name]]
            value = int(item.default) if isinstance(item.default, bool) else item.default
            assert (ours, default, text) == (f"`{item.name}`", str(value) or "''", item.help)
        elif name in UNUSED:
            assert (ours, default, text) == ("no meaning", str(UNUSED[name]), NOT_USED[name[5:].lower()])
        else:
            assert (name, ours) == ("PYRO_CONFIG_FILE", "to read only")


def test_the_blocks_of_the_page_on_logins_run_one_after_another_in_one_process() -> None:
    program = "\n".join(blocks(ROOT / "docs" / "logins.md"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "passphrase:1\n"), done.stderr


def test_the_block_of_the_page_on_by_value_runs_and_its_hooks_are_those_of_the_code(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "by_value.md").read_text()
    (tmp_path / "page.py").write_text("\n".join(blocks(ROOT / "docs" / "by_value.md")))
    ended = run(["page.py"], make_environment(tmp_path))
    assert (ended.status, ended.stderr) == (0, "")
    assert f"This prints `{ended.stdout.rstrip()}`." in page
    told = re.search(r"defines (`__del__`.*?`__class__`)", page, re.DOTALL)
    assert told and re.findall(r"`(\w+)`", told[1]) == list(HOOKS)


def test_every_number_of_the_security_page_is_a_default() -> None:
    rows = re.findall(r"^\| (`\w+`.*?) \| (.*?) \|", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    assert len(names) >= 20
    for row in rows:
        shown = [_number(cell) for cell in row[1].split(", ")]
        actual = [ITEMS[name].default for name in re.findall(r"`(\w+)`", row[0])]
        assert shown[: len(actual)] == actual, row


def _number(cell: str) -> float:
    """Read `16,000`, `4 MiB` or `10 a minute`."""
    number = float(re.sub(r"[^\d.].*", "", cell.replace(",", "")))
    return number * 1024 * 1024 if cell.endswith("MiB") else number


def test_the_readme_has_two_commands_of_one_line_each_that_make_their_own_environment() -> None:
    lines = re.findall(r"^    (python3 -m venv .*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(lines) == 2
    assert lines[0].endswith("gpyro demo")
    assert lines[1].endswith("tox")


def test_the_small_server_of_the_readme_prints_an_address() -> None:
    program = blocks(ROOT / "README.md")[2]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PYRO://127.0.0.1:")


def test_the_first_server_and_client_of_the_readme_work_as_typed(tmp_path: Path) -> None:
    environment = make_environment(tmp_path, ns_port=free_port(), port=free_port())
    server, client = blocks(ROOT / "README.md")[:2]
    (tmp_path / "server.py").write_text(server)
    (tmp_path / "client.py").write_text(client)
    with Program(["-m", "gpyro", "ns"], environment) as ns:
        ns.read_until("Name Server started.")
        with Program(["server.py"], environment) as serving:
            serving.read_until("ready")
            answer = run(["client.py"], environment)
            assert (answer.status, answer.stdout, answer.stderr) == (0, "42\n", "")
            listing = run(["-m", "gpyro", "nsc", "list"], environment)
            assert "quotes" in listing.stdout
            assert serving.stop().status == 0
        assert "quotes" not in run(["-m", "gpyro", "nsc", "list"], environment).stdout
        assert ns.stop().status == 0


def test_the_first_event_of_the_readme_works_as_typed(tmp_path: Path) -> None:
    environment = make_environment(tmp_path, ns_port=free_port(), ns_hostname="127.0.0.1", ns_broadcast=0)
    subscriber, publisher = blocks(ROOT / "README.md")[3:5]
    (tmp_path / "prices.py").write_text(subscriber)
    (tmp_path / "publish.py").write_text(publisher)
    with Program(["-m", "gpyro", "ns"], environment) as ns:
        ns.read_until("Name Server started.")
        with Program(["-m", "gpyro", "es", "-p", "0"], environment) as es:
            es.read_until("Event Server started.")
            with Program(["prices.py"], environment) as prices:
                # Of what is published before it has subscribed it hears nothing.
                while '"subscribers": 1' not in run(["-m", "gpyro", "es", "status", "--json"], environment).stdout:
                    assert prices.process.poll() is None
                assert run(["publish.py"], environment) == (0, "", "")
                assert prices.read_until("Stock.SUNW") == "12.5"
                assert run(["-m", "gpyro", "es", "publish", "Stock.SUNW", "12.5"], environment).status == 0
                assert prices.read_until("Stock.SUNW") == "12.5"


def test_the_blocks_of_the_page_on_tls_run_one_after_another_beside_fresh_certificates(tmp_path: Path) -> None:
    environment = make_environment(tmp_path)
    assert run(["-m", "gpyro", "certs", "init", "certs"], environment).status == 0
    (tmp_path / "page.py").write_text("\n".join(blocks(ROOT / "docs" / "tls.md")))
    # The page leaves a file open, as people do in a shell.
    ended = run(["-W", "ignore", "page.py"], environment)
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["None", "certificate:client", "certificate:client"]


# -- the page on events ------------------------------------------------------------------------------------------

EVENTS = ROOT / "docs" / "events.md"


def rows_below(header: str) -> list[list[str]]:
    """Return the cells of the table of the page on events that begins with this cell."""
    table = re.search(rf"^\| {re.escape(header)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", EVENTS.read_text(), re.MULTILINE)
    assert table, header
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[1].splitlines()]


def words_in(rows: list[list[str]]) -> list[str]:
    """Return what stands as code in the first cells of rows."""
    return [word for row in rows for word in re.findall(r"`([^`]+)`", row[0])]


def test_the_first_subscriber_and_publisher_of_the_page_on_events_work_as_typed(tmp_path: Path) -> None:
    environment = make_environment(tmp_path, ns_port=free_port(), ns_hostname="127.0.0.1", ns_broadcast=0)
    subscriber, publisher = blocks(EVENTS)[:2]
    (tmp_path / "subscriber.py").write_text(subscriber)
    (tmp_path / "publisher.py").write_text(publisher)
    with Program(["-m", "gpyro", "ns"], environment) as ns:
        ns.read_until("Name Server started.")
        with Program(["-m", "gpyro", "es", "-p", "0"], environment) as es:
            es.read_until("Event Server started.")
            with Program(["-u", "subscriber.py"], environment) as prices:
                prices.read_until("listening")
                assert run(["publisher.py"], environment) == (0, "", "")
                assert prices.read_until("Stock.SUNW") == "12.5"


def test_the_other_blocks_of_the_page_on_events_run_one_after_another_in_one_process(tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text("\n".join(blocks(EVENTS)[2:]))
    ended = run(["page.py"], make_environment(tmp_path))
    assert ended.status == 0, ended.stderr
    lines = ended.stdout.splitlines()
    error = next(line for line in lines if line.startswith("the pattern"))
    assert f"    {error}\n" in EVENTS.read_text()
    lines.remove(error)
    assert lines == [
        "stock.sunw 12.5",
        "Stock.SUNW 13", "Stock.SGI 4",
        "7 lost", "temperature 7", "temperature 8", "temperature 9",
        "temperature 8", "temperature 9",
        "2 job.drill 1", "2 job.drill 2",
        "lamp: on",
        "18 ['jobs']",
    ]  # fmt: skip
    # What stands beside the calls is what they print.
    shown = re.findall(r"^\S.*\.(?:listen|wait)\(.*\) +# (.*)$", "\n".join(blocks(EVENTS)[2:]), re.MULTILINE)
    assert ", ".join(shown).split(", ") == lines[:-1]
    # Only the handler that fails is logged.
    assert ended.stderr.count("RuntimeError: the drill is worn out") == 2


def test_what_the_page_on_events_says_is_refused_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "is_installed", lambda: False)
    patterns = words_in(rows_below("refused"))
    assert len(patterns) == 12
    for pattern in patterns:
        with pytest.raises(PatternError):
            compile_regex(pattern, ignore_case=True)


def test_the_settings_on_the_page_on_events_are_all_there_are_with_their_defaults() -> None:
    rows = rows_below("setting")
    assert sorted(words_in(rows)) == sorted(name for name in ITEMS if name.startswith("es_"))
    for (name,), shown in [(words_in([row]), row[1]) for row in rows]:
        if name == "es_urifile":
            assert str(ITEMS[name].default).endswith(shown.strip("`"))
        else:
            assert _number(shown) == ITEMS[name].default, name


def test_the_limits_on_the_page_on_events_are_those_of_the_code() -> None:
    assert {row[0]: row[1] for row in rows_below("limit")} == {
        "characters of a subject or pattern": f"{subjects.MAX_SUBJECT_LENGTH}",
        "subjects or patterns in one call": f"{subjects.MAX_SUBJECTS_AT_ONCE:,}",
        "exact subjects of one subscriber or queue": f"{subjects.MAX_SUBJECTS_EACH:,}",
        "patterns of one subscriber or queue": f"{subjects.MAX_PATTERNS_EACH:,}",
        "different patterns in all": f"{subjects.MAX_PATTERNS:,}",
        "subscriptions in all": f"{subjects.MAX_SUBSCRIPTIONS:,}",
        "subscribers that listen in one thread": f"{session.MAX_BOXES:,}",
        "subscribers that share a reliable queue": f"{namedqueue.MAX_CONSUMERS:,}",
        "events that one of them has at a time": f"{namedqueue.WINDOW}",
        "characters of a queue's name": f"{options.MAX_NAME_LENGTH}",
        "`redeliver_seconds`": f"{options.MIN_REDELIVER_SECONDS} to {options.MAX_REDELIVER_SECONDS:,.0f}",
    }
    assert MAX_PATTERN_LENGTH == subjects.MAX_SUBJECT_LENGTH
    text = " ".join(EVENTS.read_text().split())
    assert f"up to {clients.HANDLERS} at a time" in text
    assert f"A call of `event` may take {courier.CALL_SECONDS:g} s." in text
    assert f"`redeliver_seconds` ({options.REDELIVER_SECONDS:g})" in text
    assert f"that is {namedqueue.FIRST_DELAY_SECONDS:g} s later" in text
    assert f"after {link.FIRST_RETRY_SECONDS:g} s, later every {link.LAST_RETRY_SECONDS:g} s" in text


def test_the_keys_on_the_page_on_events_are_those_that_the_server_tells() -> None:
    with event_server() as server:
        server.recorder("news")
        server.recorder("work", queue="jobs")
        es = server.publisher().ES
        assert sorted(words_in(rows_below("key of `status()`"))) == sorted(es.status())
        assert sorted(es.status()["history"]) == ["bytes", "events", "newest", "oldest"]
        for entry in es.subscribers():
            assert sorted(words_in(rows_below("key of `subscribers()`"))) == sorted(entry)
        (queue,) = es.queues()
        assert sorted(words_in(rows_below("key of `queues()`"))) == sorted(queue)
        assert inspect.signature(EventService.subscribers).parameters.keys() == {"self", "after", "limit"}


def test_the_options_and_commands_on_the_page_on_events_are_those_of_the_command(tmp_path: Path) -> None:
    environment = make_environment(tmp_path)
    usage = run(["-m", "gpyro", "es", "-h"], environment).stdout
    described, listed = usage.split("Commands:")
    shown = {word.split()[0] for word in words_in(rows_below("option"))}
    # Each has a long name, and most have a short one too.
    names = re.findall(r"^  (-[-\w, ]+?)(?:  | [A-Z\[])", described, re.MULTILINE)
    known = [set(each.split(", ")) for each in names]
    assert len(known) == 9
    assert [each for each in known if not each & shown] == []
    assert shown <= set().union(*known)
    commands = [word.split()[2] for word in words_in(rows_below("command")) if word.startswith("gpyro es ")]
    assert sorted(commands) == re.findall(r"^  (\w+) ", listed, re.MULTILINE)
    for command in commands:
        answer = run(["-m", "gpyro", "es", command, "-h"], environment)
        assert (answer.status, answer.stderr) == (0, "")
        assert "--uri" in answer.stdout and "-i, " in answer.stdout
