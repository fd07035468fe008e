"""The process at the other end of the harness: one server, or one client.

    python -m benchmarks.worker server PEER WORK [--short]
    python -m benchmarks.worker client PEER WORK ADDRESS [--short]

It speaks JSON lines on its standard output: first one that introduces it, then,
as a client, one for each line that it reads. It ends when its standard input
does, so nothing is left behind by a harness that was killed; and by SIGALRM
after LIFETIME_SECONDS whatever happens.
"""

from __future__ import annotations

import _thread
import argparse
import importlib
import json
import os
import resource
import signal
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TextIO

# Longer than the longest work (13 peers, 7 rounds of some seconds), short enough for a night job.
LIFETIME_SECONDS = 1800


def describe_missing(peer: Any, work: Any) -> str:
    """Say why a peer without a way to do this work is not measured; empty where it has one."""
    from benchmarks.model import Kind
    from benchmarks.peer import Peer

    lacks = type(peer).connect_together is Peer.connect_together
    return "connections one after another" if work.kind is Kind.CONNECT_TOGETHER and lacks else ""


def main() -> None:
    arguments = parse_arguments()
    output = claim_output()
    signal.setitimer(signal.ITIMER_REAL, LIFETIME_SECONDS)
    raise_descriptor_limit()
    try:
        (run_server if arguments.role == "server" else run_client)(arguments, output)
    except BaseException as exc:
        tell(output, {"error": describe_error(exc)})
    # Not sys.exit: some peers wait for their threads, or for their peers, at interpreter end.
    os._exit(0)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker")
    parser.add_argument("role", choices=("server", "client"))
    parser.add_argument("peer")
    parser.add_argument("work")
    parser.add_argument("address", nargs="?", default="")
    parser.add_argument("--short", action="store_true")
    return parser.parse_args()


def claim_output() -> TextIO:
    """Keep standard output for JSON; what a library prints goes to standard error."""
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return output


def raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run_server(arguments: argparse.Namespace, output: TextIO) -> None:
    from benchmarks.works import find_work

    _thread.start_new_thread(end_with_input, ())
    peer = load_peer(arguments)
    work = find_work(arguments.work, arguments.short)
    about = {
        "note": peer.notes.get(work.family, ""),
        "refused": peer.refused.get(work.family, "") or describe_missing(peer, work),
        "versions": find_versions(peer.distributions),
    }
    if about["refused"]:
        return tell(output, about)
    peer.serve(lambda address: tell(output, {"address": address, **about}), work)
    return None


def run_client(arguments: argparse.Namespace, output: TextIO) -> None:
    from benchmarks.peers import PEERS
    from benchmarks.works import find_work

    work = find_work(arguments.work, arguments.short)
    if work.family in PEERS[arguments.peer].patched_for:
        from gevent import monkey

        monkey.patch_all()
    from benchmarks.measuring import Session, answer

    session = Session(load_peer(arguments), arguments.address, work)
    tell(output, {})
    for line in sys.stdin:
        tell(output, answer(session, json.loads(line)))


def load_peer(arguments: argparse.Namespace) -> Any:
    from benchmarks.peers import PEERS

    return importlib.import_module(PEERS[arguments.peer].module).build(arguments.peer)


def end_with_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


def tell(output: TextIO, line: dict[str, Any]) -> None:
    output.write(json.dumps(line) + "\n")
    output.flush()


def describe_error(exc: BaseException) -> str:
    if isinstance(exc, ImportError):
        return f"not installed: {exc}"
    return " ".join(f"{type(exc).__name__}: {exc}".split())[:120]


def find_versions(distributions: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "checkout"
    return found


if __name__ == "__main__":
    main()
