"""Where a daemon listens: ports and ranges, IPv6, unix sockets, and what is refused."""

from __future__ import annotations

import logging
import os
import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gpyro
from gpyro import hub
from tests.support.serving import FakeNameServer, Thing, serve, settings


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_ports_without_more_said_are_those_of_the_manual() -> None:
    assert (gpyro.config.port, gpyro.config.port_range) == (7766, 100)


def test_daemon_takes_the_next_free_port_of_the_range(taken: int) -> None:
    with gpyro.Daemon(config=settings(port=taken)) as daemon:
        assert taken < daemon.port < taken + 100
    with gpyro.Daemon(port=taken) as daemon:
        assert taken < daemon.port < taken + 100


def test_two_daemons_take_two_ports() -> None:
    with gpyro.Daemon() as first, gpyro.Daemon() as second:
        assert first.port != second.port
        assert {first.port, second.port} <= set(range(7766, 7866))


def test_norange_takes_exactly_this_port_or_says_that_it_is_in_use(taken: int) -> None:
    with pytest.raises(gpyro.errors.DaemonError) as caught:
        gpyro.Daemon(port=taken, norange=True)
    assert str(caught.value) == (
        f"couldn't start the daemon on 127.0.0.1: port {taken} is in use; "
        "give another port, or norange=True with port=0 for a free one"
    )


def test_range_that_is_all_in_use_is_named(taken: int) -> None:
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", taken + 1))
            other.listen()
        except OSError:
            pass  # Somebody else has it, which is as good.
        with pytest.raises(gpyro.errors.DaemonError, match=f"ports {taken} to {taken + 1} are all in use"):
            gpyro.Daemon(config=settings(port=taken, port_range=2))


def test_range_of_one_port_is_that_port_alone(taken: int) -> None:
    with pytest.raises(gpyro.errors.DaemonError, match=f"port {taken} is in use"):
        gpyro.Daemon(config=settings(port=taken, port_range=1))


def test_norange_with_port_0_takes_one_of_the_systems_choice() -> None:
    with gpyro.Daemon(port=0, norange=True) as daemon:
        assert daemon.port not in (0, 7766)
        assert f":{daemon.port}" in repr(daemon)


@pytest.mark.parametrize("port", [-1, 65536, 100_000])
def test_what_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(gpyro.errors.DaemonError, match="is not a port"):
        gpyro.Daemon(port=port, norange=True)


def test_range_ends_with_the_last_port_there_is() -> None:
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", 65535))
            other.listen()
        except OSError:
            pass
        with pytest.raises(gpyro.errors.DaemonError, match="port 65535 is in use"):
            gpyro.Daemon(port=65535)


def test_unknown_host_is_named() -> None:
    with pytest.raises(gpyro.errors.DaemonError, match=r"unknown host 'no-such-host\.invalid'"):
        gpyro.Daemon(host="no-such-host.invalid")


def test_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(gpyro.errors.DaemonError, match=r"couldn't start the daemon on 192\.0\.2\.1"):
        gpyro.Daemon(host="192.0.2.1", port=0, norange=True, insecure_no_auth=True)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_address_that_others_can_reach_is_refused_with_the_ways_out(host: str) -> None:
    with pytest.raises(gpyro.errors.DaemonError) as caught:
        gpyro.Daemon(host=host, port=0, norange=True)
    for way in ("127.0.0.1", "./u:/path", "insecure_no_auth=True", "--insecure"):
        assert way in str(caught.value)


def test_address_that_others_can_reach_is_open_when_that_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    with gpyro.Daemon(host="0.0.0.0", port=0, norange=True, insecure_no_auth=True) as daemon:
        assert daemon.port
    assert "open to everybody" in caplog.text


def test_localhost_listens_on_loopback() -> None:
    with serve(host="localhost") as served:
        assert f"localhost:{served.port}" in served.uri
        assert served.proxy().echo(1) == 1


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
def test_ipv6_daemon_is_called_at_an_address_in_brackets() -> None:
    with serve(host="::1") as served:
        assert f"[::1]:{served.port}" in served.uri
        assert served.proxy().echo("six") == "six"


def test_publishhost_is_what_addresses_name() -> None:
    with gpyro.Daemon(port=0, norange=True, publishhost="plant.example") as daemon:
        assert daemon.connect(Thing()).address == "plant.example"
        assert daemon.hostname == "127.0.0.1"
    with gpyro.Daemon(port=0, norange=True, config=settings(publishhost="set.example")) as daemon:
        assert daemon.connect(Thing()).address == "set.example"


# -- unix sockets --------------------------------------------------------------------------------------------


def test_unix_socket_is_for_this_user_only_and_goes_with_its_daemon(tmp_path: Path) -> None:
    path = tmp_path / "calls.sock"
    with serve(host=f"./u:{path}") as served:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert str(path) in repr(served.daemon)
        assert served.proxy().echo(1) == 1
    assert not path.exists()


def test_unix_socket_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "calls.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with serve(host=f"./u:{path}") as served:
        assert served.proxy().echo(1) == 1


def test_unix_socket_in_use_is_refused_and_its_server_undisturbed(tmp_path: Path) -> None:
    path = tmp_path / "calls.sock"
    with serve(host=f"./u:{path}") as served:
        with pytest.raises(gpyro.errors.DaemonError, match="is in use"):
            gpyro.Daemon(host=f"./u:{path}")
        assert served.proxy().echo(1) == 1


def test_file_that_is_no_socket_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("precious")
    with pytest.raises(gpyro.errors.DaemonError, match="exists and is not a socket"):
        gpyro.Daemon(host=f"./u:{path}")
    assert path.read_text() == "precious"


def test_unix_path_in_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(gpyro.errors.DaemonError, match="No such file or directory"):
        gpyro.Daemon(host=f"./u:{tmp_path}/none/calls.sock")
    with pytest.raises(gpyro.errors.DaemonError, match=r"'calls\.sock' needs an absolute path"):
        gpyro.Daemon(host="./u:calls.sock")
    with pytest.raises(gpyro.errors.DaemonError, match="too long"):
        gpyro.Daemon(host=f"./u:{tmp_path}/{'x' * 200}")


def test_socket_file_that_another_server_has_put_there_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "calls.sock"
    first = gpyro.Daemon(host=f"./u:{path}")
    path.unlink()
    with gpyro.Daemon(host=f"./u:{path}"):
        first.shutdown()
        assert path.exists()


def test_daemon_that_never_ran_removes_its_socket_file(tmp_path: Path) -> None:
    path = tmp_path / "calls.sock"
    daemon = gpyro.Daemon(host=f"./u:{path}")
    assert path.exists()
    daemon.shutdown()
    assert not path.exists()


def test_uid_at_the_other_end_of_a_unix_socket_is_known() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    assert hub.peer_uid(ours) == os.geteuid()
    ours.close()
    theirs.close()


def test_another_user_is_not_let_in_over_a_unix_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "peer_uid", lambda sock: os.geteuid() + 4711)
    with serve(host=f"./u:{tmp_path}/calls.sock") as served:
        with pytest.raises(gpyro.errors.ConnectionDeniedError, match="for its own user only"):
            served.proxy().echo(1)


# -- what the log says ---------------------------------------------------------------------------------------


def test_name_without_a_name_server_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with gpyro.Daemon(port=0, norange=True) as daemon:
        daemon.connect(Thing(), "thing")
        assert "'thing' is not registered: no name server is known (see useNameServer)" in caplog.text
        caplog.clear()
        daemon.connect(Thing())
        daemon.useNameServer(FakeNameServer())
        daemon.connect(Thing(), "other")
    assert caplog.text == ""


@pytest.mark.parametrize("name", [5, 0, False, b"thing", ["thing"], {}, 1.5], ids=repr)
@pytest.mark.parametrize("method", ["connect", "connectPersistent"])
@pytest.mark.parametrize("has_name_server", [True, False])
def test_name_that_is_no_text_is_refused_and_the_object_is_not_connected(
    name: Any, method: str, has_name_server: bool
) -> None:
    with gpyro.Daemon(port=0, norange=True) as daemon:
        if has_name_server:
            daemon.useNameServer(FakeNameServer())
        before = daemon.getRegistered()
        text = f"invalid name: {name!r} is of type {type(name).__name__}, but a name is text"
        with pytest.raises(gpyro.errors.NamingError, match=re.escape(text)):
            getattr(daemon, method)(Thing(), name)
        assert daemon.getRegistered() == before


def test_empty_names_are_none(caplog: pytest.LogCaptureFixture) -> None:
    with gpyro.Daemon(port=0, norange=True) as daemon:
        ids = [daemon.connect(Thing(), "").objectID for _ in range(2)]
        assert [daemon.getRegistered()[each] for each in ids] == [None, None]
    assert caplog.text == ""


def test_start_is_logged_with_the_active_settings_when_there_is_a_trace_level(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "log"
    caplog.set_level(logging.INFO)
    with gpyro.Daemon(port=0, norange=True) as daemon:
        assert "active settings" not in caplog.text
    with gpyro.Daemon(port=0, norange=True, config=settings(tracelevel=1, logfile=str(log))) as daemon:
        assert f"listening on 127.0.0.1 port {daemon.port}; active settings: port=" in caplog.text


@pytest.mark.parametrize(
    ("host", "publishhost", "published"),
    [
        ("127.0.0.1", None, "localhost"),
        ("", None, "localhost"),
        ("localhost", None, "localhost"),
        ("127.0.0.1", "plant.example.org", "plant.example.org"),
    ],
)
def test_addresses_carry_names_where_the_setting_dns_uri_says_so(
    host: str, publishhost: str | None, published: str
) -> None:
    settings = gpyro.config.snapshot(dns_uri=1)
    with gpyro.Daemon("PYRO", host, 0, True, publishhost, config=settings) as daemon:
        assert daemon.connect(gpyro.ObjBase()).address == published
    settings = gpyro.config.snapshot(dns_uri=1, publishhost="gate.example.org")
    with gpyro.Daemon("PYRO", host, 0, True, config=settings) as daemon:
        assert daemon.connect(gpyro.ObjBase()).address == "gate.example.org"


def test_a_daemon_takes_pyros_words_for_its_arguments() -> None:
    with gpyro.Daemon(prtcol="PYRO", host=None, port=0, norange=1, publishhost=None) as daemon:
        assert (daemon.protocol, daemon.hostname) == ("PYRO", "127.0.0.1")
