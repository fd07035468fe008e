"""Do refused logins take the same time whether the server knows the identity or not?

`python -m benchmarks.refusals [N]`: N logins (2,000 by default) with a wrong key, in turn under an id that the
server knows and under one that it does not. Printed are the medians from the first byte to the refusal.
"""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median, quantiles
from typing import Any

import gpyro
from gpyro import auth
from gpyro.errors import ConnectionDeniedError

#: Half of the refusals are under this id, which the server knows, with a key that is not its own.
KNOWN, UNKNOWN = "press-4", "press-9"
WRONG = b"w" * auth.KEY_BYTES
LIMIT = 0.05

SERVER = """
import gpyro
from gpyro import auth
daemon = gpyro.Daemon(host="127.0.0.1", port=0, norange=True, identifications=[auth.Key("press-4", bytes(32))])
print(daemon.connect(gpyro.ObjBase()), flush=True)
daemon.requestLoop()
"""


def refused_after(uri: str, key: Any) -> float:
    """Return the microseconds that one refusal takes."""
    proxy = gpyro.Proxy(uri)
    proxy._setIdentification(key)
    start = time.perf_counter()
    try:
        proxy.ping()
    except ConnectionDeniedError:
        return (time.perf_counter() - start) * 1e6
    raise SystemExit("a login with a wrong key was not refused")


def measure(uri: str, count: int) -> dict[str, list[float]]:
    """Refuse in turn, so that whatever else the machine does meets both alike."""
    keys = {name: auth.Key(name, WRONG) for name in (KNOWN, UNKNOWN)}
    times: dict[str, list[float]] = {KNOWN: [], UNKNOWN: []}
    for number in range(-50, count // 2):
        for name in (KNOWN, UNKNOWN) if number % 2 else (UNKNOWN, KNOWN):
            took = refused_after(uri, keys[name])
            if number >= 0:
                times[name].append(took)
    return times


def main(words: list[str]) -> int:
    count = int(words[0]) if words else 2000
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            times = measure(server.stdout.readline().strip(), count)
        finally:
            server.kill()
    medians = {name: median(values) for name, values in times.items()}
    for name, what in ((KNOWN, "known id, wrong key"), (UNKNOWN, "unknown id")):
        low, _, high = quantiles(times[name], n=4)
        print(f"{what:20} {len(times[name])} refusals, median {medians[name]:.1f} us ({low:.1f} .. {high:.1f})")
    difference = abs(medians[KNOWN] / medians[UNKNOWN] - 1)
    met = difference <= LIMIT
    print(f"{'reached' if met else 'MISSED '}  difference of the medians: {difference:.1%}, at most {LIMIT:.0%}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
