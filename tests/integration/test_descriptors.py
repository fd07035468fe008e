"""Limits on connections and descriptors, peers that vanish, and a hub that has nothing to wait for."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gevent
import pytest

import gpyro
from tests.support.programs import PROGRAMS, Program, make_environment
from tests.support.serving import serve, settings, wait_until


def test_server_without_descriptors_left_serves_on_and_recovers(tmp_path: Path) -> None:
    words = [str(PROGRAMS / "loops_limited.py"), "80"]
    with Program(words, make_environment(tmp_path)) as server, ExitStack() as stack:
        uri = server.read_until("serving")
        port = gpyro.PyroURI(uri).port or 0
        proxy = gpyro.Proxy(uri)
        assert proxy.echo(1) == 1
        socks = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(150)]
        wait_until(lambda: proxy.connections() > 50)
        proxy.used()
        begin = time.monotonic()
        calls = 0
        while time.monotonic() - begin < 1.0:
            assert proxy.echo(2) == 2
            calls += 1
            gevent.sleep(0.01)
        assert proxy.used() < 0.5
        # Callers for whom there is no room are turned away, and none hangs.
        refused = 0
        for sock in socks:
            sock.settimeout(0.01)
            try:
                refused += sock.recv(1) == b""
            except OSError as exc:
                refused += isinstance(exc, ConnectionError)
        assert refused >= 5
        for sock in socks:
            sock.close()
        wait_until(lambda: proxy.connections() == 1)
        again = gpyro.Proxy(uri)
        assert again.echo(3) == 3
        again._release()
        proxy._release()
        ended = server.stop()
        assert ended.status == 0
        assert ended.stderr.count("no descriptor for a new connection") == 1
        assert "Traceback" not in ended.stderr


def test_more_connections_than_allowed_are_denied_as_too_busy() -> None:
    with serve(maxconnections=3) as served:
        proxies = [served.proxy() for _ in range(3)]
        for proxy in proxies:
            assert proxy.echo(1) == 1
        with pytest.raises(gpyro.errors.ConnectionDeniedError) as caught:
            served.proxy().echo(1)
        assert str(caught.value) == "server too busy: 3 connections are open (maxconnections)"
        assert caught.value.code == gpyro.errors.ConnectionDeniedError.SERVERTOOBUSY
        proxies[0]._release()
        wait_until(lambda: len(served.daemon._service._connections) == 2)
        assert served.proxy().echo(1) == 1


def test_idle_connections_do_not_keep_the_hub_from_ending(tmp_path: Path) -> None:
    with serve() as served:
        program = tmp_path / "program.py"
        program.write_text(
            "import gevent, gpyro, sys\n"
            "proxy = gpyro.Proxy(sys.argv[1])\n"
            "print(gevent.spawn(proxy.echo, 1).get())\n"
            "print('wait', gevent.wait(timeout=20))\n"
            "print('join', gevent.get_hub().join(timeout=20))\n"
            "print(proxy)\n"
        )
        with Program([str(program), served.uri], make_environment(tmp_path)) as client:
            begin = time.monotonic()
            ended = client.finish()
        assert (ended.status, ended.stderr) == (0, "")
        assert ended.stdout.splitlines()[:3] == ["1", "wait True", "join True"]
        assert time.monotonic() - begin < 15


# -- peers that vanish ---------------------------------------------------------------------------------------

FAST: dict[str, Any] = {"heartbeat_seconds": 1, "liveness_seconds": 3}


def test_server_that_stopped_living_is_found_by_its_heartbeats(tmp_path: Path) -> None:
    """Its hub runs by itself, so its silence means something."""
    with Program([str(PROGRAMS / "loops_limited.py"), "0"], make_environment(tmp_path, **FAST)) as server:
        proxy = gpyro.Proxy(server.read_until("serving"), config=settings(**FAST))
        assert proxy.echo(1) == 1
        os.kill(server.process.pid, signal.SIGSTOP)
        begin = time.monotonic()
        with pytest.raises(gpyro.errors.ConnectionClosedError, match="no sign of life") as caught:
            proxy.echo(2)
        assert caught.value.maybe_executed
        assert 2 <= time.monotonic() - begin < 12


def test_client_that_stopped_living_is_found_unless_its_hub_does_not_run(tmp_path: Path) -> None:
    with serve(**FAST) as served:
        environment = make_environment(tmp_path)
        patched = Program([str(PROGRAMS / "loops_silent.py"), "patched", served.uri], environment)
        plain = Program([str(PROGRAMS / "loops_silent.py"), "plain", served.uri], environment)
        with patched, plain:
            patched.read_until("connected")
            plain.read_until("connected")
            assert len(served.daemon._service._connections) == 2
            os.kill(patched.process.pid, signal.SIGSTOP)
            wait_until(lambda: len(served.daemon._service._connections) == 1)
            # By now the plain one has been as silent; it goes on over the connection that it has.
            plain.process.send_signal(signal.SIGUSR1)
            assert plain.read_until("goes on") == "True"
