"""The documents: their links lead somewhere, and their Python runs as typed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpyro.naming import parse_rights
from tests.support.programs import Program, free_port, make_environment, run

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
    assert done.stdout.endswith("0 %\n50 %\n100 %\ndone\n")


def test_the_blocks_of_the_access_page_run_and_its_error_and_its_rights_are_as_shown() -> None:
    document = ROOT / "docs" / "access.md"
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks(document))], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert f"    {done.stdout}" in document.read_text()
    lines = re.search(r"(^    # plant.rights\n.*?)\n\n", document.read_text(), re.MULTILINE | re.DOTALL)
    assert lines and repr(parse_rights(lines[1])) == "<Rights in :Plant, :Plant.safety, :Pyro>"


def test_the_blocks_of_the_page_on_logins_run_one_after_another_in_one_process() -> None:
    program = "\n".join(blocks(ROOT / "docs" / "logins.md"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "passphrase:1\n"), done.stderr


def test_every_number_of_the_security_page_is_a_default() -> None:
    from gpyro.configuration import ITEMS

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


def test_the_blocks_of_the_page_on_tls_run_one_after_another_beside_fresh_certificates(tmp_path: Path) -> None:
    environment = make_environment(tmp_path)
    assert run(["-m", "gpyro", "certs", "init", "certs"], environment).status == 0
    (tmp_path / "page.py").write_text("\n".join(blocks(ROOT / "docs" / "tls.md")))
    # The page leaves a file open, as people do in a shell.
    ended = run(["-W", "ignore", "page.py"], environment)
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["None", "certificate:client", "certificate:client"]
