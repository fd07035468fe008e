"""Settings: their values, where those come from, and what the messages say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpyro._configuration.items import (
    CertificateFile,
    FilePath,
    Flag,
    GroupName,
    KeyFile,
    ModuleNames,
    OptionalText,
    PyroItems,
    Seconds,
    StoragePath,
    Text,
    Whole,
)
from gpyro._configuration.sources import MAX_FILE_BYTES
from gpyro.configuration import ITEMS, NOT_USED, ConfigurationError, Settings, config, read_surroundings
from gpyro.errors import PyroError


def settings_from(tmp_path: Path, **environ: str) -> Settings:
    """Settings that see these variables and this current directory, and nothing of the test's own."""
    return Settings.reading(lambda: read_surroundings(environ, str(tmp_path)))


def environ_of_child(**more: str) -> dict[str, str]:
    """The environment without settings, for another Python that finds gpyro where this one does."""
    kept = {name: value for name, value in os.environ.items() if "PYRO" not in name}
    return {**kept, "PYTHONPATH": os.pathsep.join(sys.path), **more}


def write_conf(tmp_path: Path, text: str, name: str = "gpyro.conf", mode: int = 0o600) -> Path:
    path = tmp_path / name
    path.write_text(text)
    path.chmod(mode)
    return path


# -- the table


def test_defaults_of_pyro_items_are_those_of_pyro() -> None:
    settings = Settings()
    assert (settings.port, settings.port_range, settings.host) == (7766, 100, "")
    assert (settings.ns_port, settings.ns2_port) == (9090, 9091)
    assert (settings.ns_bc_port, settings.ns2_bc_port) == (9090, 9091)
    assert settings.ns_hostname is settings.publishhost is settings.ns_bc_addr is None
    assert (settings.bc_retries, settings.bc_timeout, settings.ns_defaultgroup) == (1, 0.75, ":Default")
    assert (settings.tracelevel, settings.dns_uri) == (0, 0)
    assert (settings.sock_keepalive, settings.oneway_threaded) == (1, 1)
    assert (settings.es_queuesize, settings.es_blockqueue) == (1000, True)


def test_defaults_of_own_items() -> None:
    settings = Settings()
    assert settings.max_message_bytes == 4 * 1024 * 1024
    assert settings.max_value_bytes == 256 * 1024 * 1024
    assert settings.max_in_flight_per_connection == 16384
    assert settings.turn_seconds == 0.002
    assert (settings.es_history, settings.es_history_bytes) == (1000, 16 * 1024 * 1024)
    assert (settings.es_queue_bytes, settings.es_max_subscribers) == (16 * 1024 * 1024, 20_000)
    assert (settings.es_block_seconds, settings.es_resume_seconds) == (5.0, 60.0)
    assert settings.es_urifile.endswith("Pyro_ES_URI")


@pytest.mark.parametrize("name", ITEMS)
def test_every_item_has_help_allows_its_default_and_tells_itself(name: str) -> None:
    item = ITEMS[name]
    assert item.name == name
    assert len(item.help) > 10
    if not isinstance(item, StoragePath):
        assert item.check(item.default) == item.default
    assert repr(item).startswith(f"<Item {name}: ")


def test_numbers_say_their_unit() -> None:
    for name, item in ITEMS.items():
        if isinstance(item, Seconds):
            assert "second" in item.help, name
        if name.endswith("_bytes"):
            assert "bytes" in item.help, name


def test_live_items_are_those_that_are_read_at_use() -> None:
    assert {name for name, item in ITEMS.items() if item.live} == {
        "ns_hostname", "ns_port", "ns_bc_port", "ns_bc_addr", "ns2_hostname", "ns2_port", "ns2_bc_port",
        "ns2_bc_addr", "ns_broadcast", "tracelevel", "user_tracelevel", "detailed_traceback", "es_queuesize",
        "es_blockqueue", "es_queue_bytes", "es_block_seconds",
    }  # fmt: skip


def test_items_that_are_not_used_have_a_reason_and_are_not_items() -> None:
    assert not set(NOT_USED) & set(ITEMS)
    assert all(len(reason) > 10 for reason in NOT_USED.values())


# -- certificates


def test_certificates_lie_below_their_directory_unless_they_are_said_to_lie_elsewhere(tmp_path: Path) -> None:
    settings = Settings(storage=tmp_path, ssl_key=Path("keys/host.key"), ssl_ca_cert="/etc/plant/ca.pem")
    assert settings.ssl_certdir == f"{tmp_path}/certs"
    assert settings.ssl_cert == f"{tmp_path}/certs/host.pem"
    assert settings.ssl_key == f"{tmp_path}/certs/keys/host.key"
    assert settings.ssl_ca_cert == "/etc/plant/ca.pem"
    settings.ssl_certdir = "/run/certs"
    settings.ssl_key = None
    assert (settings.ssl_cert, settings.ssl_key) == ("/run/certs/host.pem", None)


@pytest.mark.parametrize("variable", ["GPYRO_SSL_CERT", "PYROSSL_CERT"])
def test_certificate_may_be_given_by_pyros_variable_and_by_our_own(tmp_path: Path, variable: str) -> None:
    settings = settings_from(tmp_path, **{variable: "plant.pem", "PYRO_SSL_CERT": "other.pem"})
    assert settings.ssl_cert.endswith("/certs/plant.pem")
    assert settings.origin("ssl_cert") == f"environment {variable}"


def test_our_own_variable_of_a_certificate_is_stronger_than_pyros(tmp_path: Path) -> None:
    settings = settings_from(tmp_path, GPYRO_SSL_KEY="ours.key", PYROSSL_KEY="old.key", PYROSSL_POSTCONNCHECK="0")
    assert settings.ssl_key is not None and settings.ssl_key.endswith("/certs/ours.key")
    assert settings.ssl_postconncheck is False


def test_key_that_is_no_path_is_refused() -> None:
    for value in ("", 5, "a\0b"):
        with pytest.raises(ConfigurationError, match="or None: the key is in the file ssl_cert"):
            Settings(ssl_key=value)


# -- assigning


def test_assigned_value_is_read_back_with_origin_code() -> None:
    settings = Settings()
    settings.port = 7800
    assert settings.port == 7800
    assert settings.origin("port") == "code"
    assert settings.origin("host") == "default"


def test_values_may_be_given_when_settings_are_made() -> None:
    settings = Settings(port=7800, host="127.0.0.1")
    assert (settings.port, settings.host) == (7800, "127.0.0.1")


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("port", 0, "a whole number from 1 to 65535"),
        ("port", 65536, "a whole number from 1 to 65535"),
        ("port", "7766", "a whole number from 1 to 65535"),
        ("port", True, "a whole number from 1 to 65535"),
        ("port", 1.0, "a whole number from 1 to 65535"),
        ("bc_timeout", "soon", "a number of seconds from 0.01 to 60"),
        ("bc_timeout", float("nan"), "a number of seconds from 0.01 to 60"),
        ("bc_timeout", float("inf"), "a number of seconds from 0.01 to 60"),
        ("dns_uri", 2, "1 or 0"),
        ("dns_uri", "yes", "1 or 0"),
        ("host", None, "text without control characters"),
        ("host", "a\nb", "text without control characters"),
        ("ns_hostname", "", "text without control characters, or None"),
        ("ns_defaultgroup", "Default", "the full name of a group"),
        ("logfile", "", "a path"),
        ("logfile", 3, "a path"),
        ("logfile", "a\0b", "a path"),
        ("storage", "$STORAGE/x", "$STORAGE may not"),
    ],
)
def test_wrong_value_raises_error_that_names_item_value_and_range(
    name: str, value: object, allowed: str
) -> None:
    settings = Settings()
    before = getattr(settings, name)
    with pytest.raises(ValueError, match=name) as caught:
        setattr(settings, name, value)
    assert isinstance(caught.value, PyroError)
    assert repr(value) in str(caught.value)
    assert allowed in str(caught.value)
    assert getattr(settings, name) == before


def test_flags_take_ones_and_zeros_and_hold_bools() -> None:
    settings = Settings()
    settings.dns_uri = 1  # type: ignore[assignment]
    assert settings.dns_uri is True
    settings.dns_uri = False
    assert settings.dns_uri is False


def test_whole_seconds_become_floats() -> None:
    settings = Settings(busy_wait_seconds=3)
    assert isinstance(settings.busy_wait_seconds, float)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("prot", "did you mean 'port'?"),
        ("max_mesage_bytes", "did you mean 'max_message_bytes'?"),
        ("PYRO_PORT", "it is spelled 'port' here"),
        ("multithreaded", "calls always run side by side"),
        ("PYRO_MOBILE_CODE", "code never travels"),
        ("PYROSSL_CERT", "it is spelled 'ssl_cert' here"),
        ("zzzzzzzz", "`gpyro config` lists them all"),
    ],
)
def test_setting_that_is_not_there_raises_attribute_error_with_a_hint(name: str, hint: str) -> None:
    settings = Settings()
    for attempt in (
        lambda: getattr(settings, name),
        lambda: setattr(settings, name, 1),
        lambda: settings.origin(name),
        lambda: settings.snapshot(**{name: 1}),
        lambda: Settings(**{name: 1}),
    ):
        with pytest.raises(AttributeError) as caught:
            attempt()
        assert repr(name) in str(caught.value)
        assert hint in str(caught.value)


def test_item_cannot_be_deleted() -> None:
    with pytest.raises(AttributeError, match="cannot be deleted"):
        del Settings().port


# -- paths


def test_storage_is_the_state_directory_of_the_user_and_files_lie_in_it() -> None:
    from platformdirs import user_state_path

    settings = Settings()
    assert settings.storage == str(user_state_path("gpyro"))
    assert settings.logfile == os.path.join(settings.storage, "Pyro_log")
    assert settings.ns_urifile == os.path.join(settings.storage, "Pyro_NS_URI")


def test_paths_follow_a_storage_that_is_set_later() -> None:
    settings = Settings()
    settings.storage = "/somewhere"
    assert settings.logfile == "/somewhere/Pyro_log"


def test_current_directory_and_home_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    settings = settings_from(tmp_path)
    settings.storage = "$CURDIR/data"
    settings.logfile = "$STORAGE/logs/x"
    settings.user_logfile = "~/user.log"
    settings.ns_urifile = "relative"
    assert settings.logfile == f"{tmp_path}/data/logs/x"
    assert settings.user_logfile == "/home/someone/user.log"
    assert settings.ns_urifile == f"{tmp_path}/relative"


def test_path_objects_are_taken(tmp_path: Path) -> None:
    settings = Settings()
    settings.storage = tmp_path  # type: ignore[assignment]
    assert settings.storage == str(tmp_path)


def test_removed_current_directory_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert Settings(logfile="x").logfile == "/x"


# -- snapshots


def test_snapshot_keeps_its_values_when_the_parent_changes() -> None:
    settings = Settings(port=7800)
    snapshot = settings.snapshot()
    settings.port = 7900
    settings.max_depth = 10
    assert (snapshot.port, snapshot.max_depth) == (7800, 64)


def test_snapshot_reads_live_items_from_its_parent_at_use() -> None:
    settings = Settings()
    inner = settings.snapshot().snapshot(port=7800)
    settings.tracelevel = 3
    settings.ns_hostname = "ns.example"
    assert (inner.tracelevel, inner.ns_hostname) == (3, "ns.example")
    assert inner.origin("tracelevel") == "code"


def test_override_holds_even_for_a_live_item() -> None:
    settings = Settings()
    snapshot = settings.snapshot(tracelevel=1, max_depth=10)
    settings.tracelevel = 3
    assert (snapshot.tracelevel, snapshot.max_depth) == (1, 10)
    assert snapshot.origin("max_depth") == "code"
    assert settings.max_depth == 64


def test_snapshot_cannot_be_assigned_to() -> None:
    snapshot = Settings().snapshot()
    for name, value in (("port", 7800), ("tracelevel", 1)):
        with pytest.raises(AttributeError, match=rf"{name} cannot be set .* these settings are a snapshot"):
            setattr(snapshot, name, value)


def test_snapshot_of_a_snapshot_without_changes_is_itself() -> None:
    snapshot = Settings().snapshot()
    assert snapshot.snapshot() is snapshot


def test_snapshot_keeps_paths_of_its_own_storage(tmp_path: Path) -> None:
    settings = Settings(storage="/one")
    snapshot = settings.snapshot(storage="/two")
    settings.storage = "/three"
    assert snapshot.logfile == "/two/Pyro_log"


def test_snapshot_checks_overrides_and_how_they_fit_together() -> None:
    settings = Settings()
    with pytest.raises(ConfigurationError, match="port is 0, but it must be"):
        settings.snapshot(port=0)
    with pytest.raises(ConfigurationError, match=r"heartbeat_seconds is .* not be more than liveness"):
        settings.snapshot(heartbeat_seconds=50)
    with pytest.raises(ConfigurationError, match=r"output_soft_bytes is 8388608, .* which is 1000"):
        settings.snapshot(output_hard_bytes=1000)
    assert settings.snapshot(heartbeat_seconds=0, liveness_seconds=0.05).heartbeat_seconds == 0


# -- environment


def test_environment_gives_values_of_the_right_types(tmp_path: Path) -> None:
    settings = settings_from(
        tmp_path, GPYRO_PORT="7800", GPYRO_BC_TIMEOUT="1.5", GPYRO_DNS_URI="yes", GPYRO_NS_HOSTNAME=" ns ",
        GPYRO_STORAGE="/data", GPYRO_MAX_DEPTH="10",
    )  # fmt: skip
    assert (settings.port, settings.bc_timeout, settings.dns_uri) == (7800, 1.5, True)
    assert (settings.ns_hostname, settings.storage, settings.max_depth) == ("ns", "/data", 10)
    assert settings.origin("port") == "environment GPYRO_PORT"


def test_old_variable_is_read_and_the_new_one_wins(tmp_path: Path) -> None:
    settings = settings_from(tmp_path, PYRO_PORT="7801", PYRO_HOST="127.0.0.2", GPYRO_PORT="7802")
    assert (settings.port, settings.host) == (7802, "127.0.0.2")
    assert settings.origin("host") == "environment PYRO_HOST"


def test_old_spelling_exists_only_for_items_that_pyro_has(tmp_path: Path) -> None:
    assert settings_from(tmp_path, PYRO_MAX_DEPTH="nonsense").max_depth == 64
    assert {name for name in vars(PyroItems) if name in ITEMS} >= {"port", "storage", "es_queuesize"}


def test_unknown_variables_are_left_alone_and_ours_are_noted(tmp_path: Path) -> None:
    settings = settings_from(
        tmp_path, PYRO_LOGWIRE="1", PYRO_SERVERTYPE="x", GPYRO_PROT="1", GPYRO_CONFIG_FILE="", PATH="/bin"
    )
    assert settings.port == 7766
    assert settings.notes() == ["environment variable GPYRO_PROT is no setting; did you mean 'port'?"]


def test_empty_variable_gives_nothing(tmp_path: Path) -> None:
    settings = settings_from(tmp_path, GPYRO_PORT="", PYRO_PORT="7801", PYRO_HOST=" ")
    assert settings.port == 7801
    assert settings.origin("host") == "default"


@pytest.mark.parametrize("flag", ["1", "true", "Yes", "ON"])
def test_flag_words(tmp_path: Path, flag: str) -> None:
    assert settings_from(tmp_path, GPYRO_DNS_URI=flag).dns_uri is True


@pytest.mark.parametrize(
    ("variable", "text", "allowed"),
    [
        ("PYRO_MAXCONNECTIONS", "abc", "maxconnections must be a whole number from 1 to 1000000"),
        ("GPYRO_PORT", "70000", "port must be a whole number from 1 to 65535"),
        ("GPYRO_BC_TIMEOUT", "nan", "bc_timeout must be a number of seconds from 0.01 to 60"),
        ("GPYRO_DNS_URI", "perhaps", "dns_uri must be 1 or 0"),
        ("GPYRO_STORAGE", "$STORAGE", "storage must be the path of a directory"),
    ],
)
def test_wrong_variable_is_named_at_first_use_and_each_use(
    tmp_path: Path, variable: str, text: str, allowed: str
) -> None:
    settings = settings_from(tmp_path, **{variable: text})
    assert repr(settings) == "<Settings mutable, not read yet>"
    for use in (lambda: settings.host, settings.snapshot, settings.dump, settings.notes):
        with pytest.raises(ConfigurationError) as caught:
            use()
        assert str(caught.value).startswith(f"environment variable {variable} is {text!r}, but {allowed}")
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


def test_process_settings_come_from_the_environment_and_import_never_fails(tmp_path: Path) -> None:
    program = (
        "import gpyro.configuration as c\n"
        "print('imported')\n"
        "try: c.config.port\n"
        "except c.ConfigurationError as error: print(error)\n"
        "import os; os.environ['GPYRO_PORT'] = '7999'\n"
        "print(c.config.port, c.config.origin('port'))\n"
    )
    environ = environ_of_child(GPYRO_PORT="x")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "imported",
        "environment variable GPYRO_PORT is 'x', but port must be a whole number from 1 to 65535",
        "7999 environment GPYRO_PORT",
    ]


def test_import_takes_neither_gevent_nor_platformdirs_along(tmp_path: Path) -> None:
    program = (
        "import sys, gpyro.configuration as c; c.config.port\n"
        "costly = ('gevent', 'platformdirs', 'difflib', 'socket', 'logging')\n"
        "print([name for name in costly if name in sys.modules])"
    )
    environ = environ_of_child()
    command = [sys.executable, "-S", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# -- file


def test_file_in_current_directory_is_read(tmp_path: Path) -> None:
    path = write_conf(
        tmp_path,
        "# a remark\n\nport = 7800\nPYRO_HOST=127.0.0.2   # the lab\ngpyro_max_depth = 10\nNS_HOSTNAME =\n"
        "publishhost = a#b\n",
    )
    settings = settings_from(tmp_path)
    assert (settings.port, settings.host, settings.max_depth) == (7800, "127.0.0.2", 10)
    assert settings.ns_hostname is None
    assert settings.publishhost == "a#b"
    assert settings.origin("port") == f"file {path}"
    assert settings.notes() == []


def test_environment_is_stronger_than_file_and_code_than_both(tmp_path: Path) -> None:
    write_conf(tmp_path, "port = 1\nhost = file\nns_port = 1\n")
    settings = settings_from(tmp_path, PYRO_PORT="2", PYRO_NS_PORT="2")
    settings.ns_port = 3
    assert (settings.host, settings.port, settings.ns_port) == ("file", 2, 3)


@pytest.mark.parametrize("variable", ["GPYRO_CONFIG_FILE", "PYRO_CONFIG_FILE"])
def test_named_file_is_read_instead_whoever_may_write_it(tmp_path: Path, variable: str) -> None:
    write_conf(tmp_path, "port = 1\n")
    write_conf(tmp_path, "host = other\n", "other.conf", mode=0o666)
    settings = settings_from(tmp_path, **{variable: "other.conf"})
    assert (settings.port, settings.host) == (7766, "other")
    assert settings.notes() == []


def test_named_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    settings = settings_from(tmp_path, GPYRO_CONFIG_FILE="/nonexistent")
    with pytest.raises(ConfigurationError) as caught:
        _ = settings.port
    assert str(caught.value) == (
        "configuration file '/nonexistent', named by GPYRO_CONFIG_FILE, cannot be read: "
        "No such file or directory"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bogus = 1", ", line 1: bogus is no setting; `gpyro config` lists them all"),
        ("#\nPYRO_PROT = 1", ", line 2: PYRO_PROT is no setting; did you mean 'port'?"),
        ("port 7766", ", line 1: 'port 7766' is not of the form 'item = value'"),
        ("= 1", ", line 1: '= 1' is not of the form 'item = value'"),
        ("port = abc # x", ", line 1: port is 'abc', but port must be a whole number from 1 to 65535"),
    ],
)
def test_wrong_line_is_named_with_file_number_and_text(tmp_path: Path, text: str, message: str) -> None:
    path = write_conf(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        _ = settings_from(tmp_path).port
    assert str(caught.value) == f"{path}{message}"


def test_old_pyro_conf_can_be_read_as_it_is(tmp_path: Path) -> None:
    path = write_conf(
        tmp_path, "PYRO_MULTITHREADED = 1\nPYROSSL_CERT = plant.pem\nPYRO_PORT = 7800\n", "Pyro.conf"
    )
    settings = settings_from(tmp_path, PYRO_CONFIG_FILE=str(path))
    assert settings.port == 7800
    assert settings.ssl_cert.endswith("/certs/plant.pem")
    assert [note.split(" is ")[0] for note in settings.notes()] == [f"{path}, line 1: PYRO_MULTITHREADED"]


def test_pyro_conf_in_current_directory_is_not_read(tmp_path: Path) -> None:
    write_conf(tmp_path, "PYRO_PORT = 1\n", "Pyro.conf")
    assert settings_from(tmp_path).port == 7766


def test_file_that_everybody_may_write_is_passed_over_with_a_note(tmp_path: Path) -> None:
    path = write_conf(tmp_path, "port = 1\n", mode=0o606)
    settings = settings_from(tmp_path)
    assert settings.port == 7766
    assert settings.notes() == [
        f"{path} is not read: everybody may write it; name it in GPYRO_CONFIG_FILE if you trust it"
    ]
    assert settings.snapshot().notes() == settings.notes()


def test_file_of_another_user_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_conf(tmp_path, "port = 1\n")
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    settings = settings_from(tmp_path)
    assert settings.port == 7766
    assert f"it belongs to user {me}, not to user {me + 1}" in settings.notes()[0]


def test_symbolic_link_directory_and_pipe_are_passed_over(tmp_path: Path) -> None:
    target = write_conf(tmp_path, "port = 1\n", "target")
    path = tmp_path / "gpyro.conf"
    for make in (lambda: path.symlink_to(target), lambda: os.mkfifo(path), lambda: path.mkdir()):
        make()  # type: ignore[no-untyped-call]
        settings = settings_from(tmp_path)
        assert settings.port == 7766
        assert settings.notes()[0].startswith(f"{path} is not read: ")
        if not path.is_dir():
            path.unlink()


def test_file_that_is_too_large_or_no_text_is_an_error(tmp_path: Path) -> None:
    path = write_conf(tmp_path, "#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigurationError, match=f"larger than {MAX_FILE_BYTES} bytes"):
        _ = settings_from(tmp_path).port
    path.write_bytes(b"host = \xff\n")
    with pytest.raises(ConfigurationError, match="is not UTF-8 text"):
        _ = settings_from(tmp_path).port


# -- showing


def test_dump_has_a_row_for_every_item_in_the_order_of_the_table(tmp_path: Path) -> None:
    settings = settings_from(tmp_path, GPYRO_PORT="7800")
    rows = settings.dump()
    assert [row.name for row in rows] == list(ITEMS)
    assert rows[0] == ("port", 7800, "environment GPYRO_PORT", ITEMS["port"].help)
    assert dict((row.name, row.value) for row in rows)["logfile"] == settings.logfile


def test_repr_tells_the_state(tmp_path: Path) -> None:
    settings = settings_from(tmp_path)
    assert repr(settings) == "<Settings mutable, not read yet>"
    _ = settings.port
    assert repr(settings) == "<Settings mutable, all defaults>"
    settings.host = "::1"
    settings.port = 7800
    assert repr(settings.snapshot()) == "<Settings frozen port=7800 host='::1'>"


def test_config_is_the_mutable_settings_of_the_process() -> None:
    assert isinstance(config, Settings)
    kinds = {type(item) for item in ITEMS.values()}
    paths = (FilePath, StoragePath, CertificateFile, KeyFile)
    assert kinds == {Whole, Seconds, Flag, Text, OptionalText, GroupName, ModuleNames, *paths}


def test_plain_snapshot_is_made_once_until_something_is_assigned() -> None:
    settings = Settings(port=7800)
    first = settings.snapshot()
    assert settings.snapshot() is first
    assert settings.snapshot(port=7801) is not first
    assert settings.snapshot() is first
    settings.port = 7802
    assert (first.port, settings.snapshot().port) == (7800, 7802)
