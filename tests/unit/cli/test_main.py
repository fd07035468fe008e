"""The command line's entrance: help, versions, errors, the small commands, tables."""

from __future__ import annotations

import re
import sys

import click
import pytest
from click.testing import CliRunner, Result
from gpyro_cli import main, output
from gpyro_cli.main import COMMANDS, cli

from gpyro import __version__, errors


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


@pytest.mark.smoke
def test_help_names_every_command() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    for name, (_, line) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(line)}$", result.output, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_a_help_that_tells_what_it_does(name: str) -> None:
    result = invoke(name, "--help")
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: gpyro {name}" if "gpyro" in result.output[:12] else "Usage: ")
    # The line in the overview is the first sentence of the command's own help, more or less: same first word.
    assert COMMANDS[name][1].split()[0] in result.output


@pytest.mark.parametrize("name", ["ns", "echoserver"])
def test_servers_take_the_short_help_option_of_pyro(name: str) -> None:
    assert invoke(name, "-h").exit_code == 0


def test_version_is_the_packages() -> None:
    result = invoke("--version")
    assert (result.exit_code, result.output) == (0, f"gpyro {__version__}\n")


def test_unknown_command_and_option_end_with_status_2() -> None:
    result = invoke("nosuch")
    assert result.exit_code == 2
    assert "No such command 'nosuch'" in result.stderr
    result = invoke("ns", "-z")
    assert result.exit_code == 2
    assert "No such option" in result.stderr


def test_identification_given_twice_or_empty_is_refused_with_status_2() -> None:
    result = invoke("nsc", "-i", "secret", "--identification-file", "key", "ping")
    assert result.exit_code == 2
    assert "give one of them" in result.stderr
    result = invoke("nsc", "-i", "", "ping")
    assert result.exit_code == 2
    assert "the passphrase is empty" in result.stderr


def test_genguid_prints_a_new_id_each_time() -> None:
    first, second = invoke("genguid").output, invoke("genguid").output
    assert re.fullmatch(r"[0-9a-f]{32}\n", first)
    assert first != second


def test_config_shows_value_and_origin_of_each_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpyro import configuration

    settings = configuration.Settings(ns_port=9191)
    monkeypatch.setattr(configuration, "config", settings)
    rows = [line.split() for line in invoke("config").output.splitlines()]
    assert ["ns_port", "9191", "code"] in rows
    assert ["port", "7766", "default"] in rows
    assert ["ns_hostname", "-", "default"] in rows
    assert len(rows) == len(configuration.ITEMS)
    assert [line.split() for line in invoke("config", "--changed").output.splitlines()] == [
        ["ns_port", "9191", "code"]
    ]


def test_config_explains_the_settings_that_are_asked_for() -> None:
    result = invoke("config", "-v", "ns_bc_port")
    assert result.exit_code == 0
    assert result.output.count("\n") == 1
    assert "UDP port where a name server hears broadcasts" in result.output


def test_config_refuses_a_setting_that_is_not_there() -> None:
    result = invoke("config", "nosuch")
    assert result.exit_code == 2
    assert "there is no setting 'nosuch'" in result.stderr


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> type:
    """`gpyro genguid` raises what `failing.error` is."""

    class Failing:
        error: Exception = errors.NamingError("name not found: ':x'")

    @click.command("genguid")
    def command() -> None:
        raise Failing.error

    import gpyro_cli.genguid

    monkeypatch.setattr(gpyro_cli.genguid, "command", command)
    return Failing


def test_error_is_one_line_on_stderr_with_status_1(failing: type) -> None:
    result = invoke("genguid")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "Error: name not found: ':x'\n")


def test_error_of_many_lines_is_told_in_one(failing: type) -> None:
    failing.error = OSError("disk\nis full")  # type: ignore[attr-defined]
    assert invoke("genguid").stderr == "Error: disk is full\n"


def test_unexpected_error_names_its_class_and_the_way_to_its_traceback(failing: type) -> None:
    failing.error = KeyError("x")  # type: ignore[attr-defined]
    result = invoke("genguid")
    assert result.exit_code == 1
    assert result.stderr == "Error: KeyError: 'x' (`gpyro --debug ...` shows where)\n"


def test_debug_shows_the_traceback_too(failing: type) -> None:
    result = invoke("--debug", "genguid")
    assert result.exit_code == 1
    assert result.stderr.startswith("Traceback (most recent call last):")
    assert "raise Failing.error" in result.stderr
    assert result.stderr.endswith("Error: name not found: ':x'\n")


def test_table_in_a_pipe_has_aligned_rows_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("NAME", "KIND"), [("a", "object"), ("longer", "group\x1b[31m\nx")])
    assert capsys.readouterr().out == "a       object\nlonger  group\\x1b[31m x\n"
    output.print_table(("NAME", "KIND"), [])
    assert capsys.readouterr().out == ""


def test_table_on_a_terminal_has_a_header_and_colours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    output.print_table(("NAME", "KIND"), [("a", "object")])
    printed = capsys.readouterr().out
    assert "NAME" in printed
    assert click.unstyle(printed) == "NAME  KIND\na     object\n"


def test_commands_are_listed_in_order() -> None:
    assert list(COMMANDS) == sorted(COMMANDS)
    assert main.LazyGroup("x").list_commands(click.Context(cli)) == list(COMMANDS)
