"""TLS in processes of all kinds, with the certificates that `gpyro certs` makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import PROGRAMS, Program, make_environment, run

SERVER = """
import gpyro
class Plain:
    def who(self):
        return gpyro.current_call.identity
daemon = gpyro.Daemon("PYROSSL", port=0, norange=True)
print("at", daemon.connect(Plain()), flush=True)
daemon.requestLoop()
"""
CLIENT = "import gpyro, sys; print(gpyro.Proxy(sys.argv[1]).who())"


def make_certificates(tmp_path: Path) -> dict[str, str]:
    environment = make_environment(tmp_path)
    assert run(["-m", "gpyro", "certs", "init"], environment).status == 0
    return environment


@pytest.mark.parametrize("when", ["first", "late", "never"])
def test_program_that_is_patched_at_any_time_serves_and_calls(tmp_path: Path, when: str) -> None:
    environment = make_certificates(tmp_path)
    # Python and gevent warn of late patching themselves.
    words = ["-W", "ignore", str(PROGRAMS / "tls_patched.py"), when, str(tmp_path / "certs")]
    ended = run(words, environment)
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["echoed 1000000", "thread too", "ended"]


def test_fresh_certificates_make_pyrossl_work_with_no_further_settings(tmp_path: Path) -> None:
    environment = make_certificates(tmp_path)
    with Program(["-c", SERVER], environment) as server:
        uri = server.read_until("at")
        assert uri.startswith("PYROSSL://127.0.0.1:")
        ended = run(["-c", CLIENT, uri], environment)
        assert (ended.status, ended.stdout, ended.stderr) == (0, "certificate:localhost\n", "")
        assert run(["-m", "gpyro", "certs", "client", "alice"], environment).status == 0
        ended = run(["-c", CLIENT, uri], {**environment, "PYROSSL_CERT": "alice.pem"})
        assert (ended.status, ended.stdout, ended.stderr) == (0, "certificate:alice\n", "")


def test_importing_gpyro_and_its_hub_loads_no_ssl() -> None:
    program = "import sys, gpyro.daemon, gpyro.proxy; gpyro.TLSConfig; print('ssl' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("False\n", "")
