"""What all tests share.

The helpers in `tests/support` are imported as `tests.support`, the measurements as `benchmarks`. The checkout
itself is deliberately not on the path under tox, where the installed wheel is what is tested, so these packages
are made known here by hand.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

#: The same examples in every run, so that a change is judged by what it does and not by luck, and no deadline
#: for one example: machines are shared, and pytest-timeout bounds each test. `GPYRO_TEST_EXAMPLES=random` looks
#: further.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("random", deadline=None)
settings.load_profile("random" if os.environ.get("GPYRO_TEST_EXAMPLES") == "random" else "same")


def _keep_broadcasts_on_this_machine() -> None:
    """Let nothing that a test does leave this machine, nor be heard by another run of the tests on it.

    Before gpyro is imported, and for the processes that tests start.
    """
    for prefix in ("GPYRO_NS", "GPYRO_NS2"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            os.environ[f"{prefix}_BC_PORT"] = str(probe.getsockname()[1])
        os.environ[f"{prefix}_BC_ADDR"] = "127.255.255.255"
    os.environ["GPYRO_BC_TIMEOUT"] = "0.1"


_keep_broadcasts_on_this_machine()


# A shell that starts the tests in the background has them ignore ctrl-C, and with them the programs they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _make_importable(name: str, place: Path) -> None:
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__path__", None):
        return
    spec = importlib.util.spec_from_loader(name, loader=None, is_package=True)
    assert spec is not None
    spec.submodule_search_locations = [str(place)]
    sys.modules[name] = importlib.util.module_from_spec(spec)


_make_importable("tests", Path(__file__).parent)
_make_importable("benchmarks", Path(__file__).parents[1] / "benchmarks")


@pytest.fixture(scope="session", autouse=True)
def no_broadcast_leaves_this_machine() -> Iterator[None]:
    """Fail loudly where a test with settings of its own forgot where broadcasts may go."""
    from gpyro import hub

    send = hub.UdpEndpoint.send

    def send_here(endpoint: hub.UdpEndpoint, data: bytes, host: str, port: int) -> bool:
        assert hub.is_loopback(host), f"a test sent a datagram to {host}"
        return send(endpoint, data, host, port)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub.UdpEndpoint, "send", send_here)
        yield
