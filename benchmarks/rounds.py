"""Interleaved rounds: peer A round 1, peer B round 1, ..., peer A round 2, ...

A machine that slows down for a while then slows all peers alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from benchmarks.model import Result, Timed, Work, in_unit
from benchmarks.processes import WorkerFailed, WorkerProcess

START_SECONDS = 30.0
PREPARE_SECONDS = 60.0
ROUND_SECONDS = 60.0

Progress = Callable[[str], None]


class Contestant:
    """One peer at one work: its server process, its client process, its samples.

    A failure at any step ends its part and becomes the reason in its result.
    """

    def __init__(self, name: str, work: Work, short: bool) -> None:
        self.name = name
        self.work = work
        self.options = ("--short",) if short else ()
        self.versions: dict[str, str] = {}
        self._samples: list[float] = []
        self._about = {"note": "", "refused": "", "failed": "", "kept": ""}

    def __repr__(self) -> str:
        return f"<Contestant {self.name} at {self.work.name}, {len(self._samples)} rounds, {self._about}>"

    @property
    def in_race(self) -> bool:
        return not (self._about["refused"] or self._about["failed"])

    def start_server(self, stack: ExitStack) -> None:
        self.server = stack.enter_context(WorkerProcess("server", self.name, self.work.name, *self.options))

    def start_client(self, stack: ExitStack) -> None:
        """Wait for the server, start the client, warm up."""
        with self.failure_ends_part():
            line = self.server.read(START_SECONDS)
            self.versions = line.pop("versions", {})
            self._about["note"] = line.get("note", "")
            self._about["refused"] = line.get("refused", "")
            if self.in_race:
                self.client = stack.enter_context(self.new_client(line["address"]))
                self.address = line["address"]
                self._about["kept"] = self._prepare()

    def new_client(self, address: str) -> WorkerProcess:
        return WorkerProcess("client", self.name, self.work.name, address, *self.options)

    def _prepare(self) -> str:
        self.client.read(START_SECONDS)
        kept: str = self.client.request({"do": "prepare"}, PREPARE_SECONDS)["kept"]
        return kept

    def measure(self) -> None:
        with self.failure_ends_part():
            reply = self.client.request({"do": "measure"}, ROUND_SECONDS)
            self._samples.append(in_unit(Timed(reply["seconds"], reply["calls"]), self.work.unit))

    def failure_ends_part(self) -> FailureEndsPart:
        return FailureEndsPart(self._about)

    def build_result(self) -> Result:
        samples = tuple(self._samples) if self.in_race else ()
        about = self._about
        return Result(
            self.work.name, self.name, samples, about["kept"], about["note"], about["refused"], about["failed"]
        )


class FailureEndsPart:
    """Turns a WorkerFailed into the peer's result."""

    def __init__(self, about: dict[str, str]) -> None:
        self._about = about

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, value: BaseException | None, trace: object) -> bool:
        if isinstance(value, WorkerFailed):
            self._about["failed"] = str(value)
            return True
        return False


def run_rounds(
    work: Work, peers: Sequence[str], rounds: int, short: bool, progress: Progress
) -> tuple[list[Result], dict[str, str]]:
    """Run one work for all peers.

    Returns:
        The results in the order of `peers`, and the versions met.
    """
    contestants = [Contestant(name, work, short) for name in peers]
    versions: dict[str, str] = {}
    with ExitStack() as stack:
        for contestant in contestants:
            contestant.start_server(stack)
        for contestant in contestants:
            progress(f"{work.name}: warming up {contestant.name}")
            contestant.start_client(stack)
            versions.update(contestant.versions)
        for number in range(min(rounds, work.most_rounds)):
            for contestant in contestants:
                if contestant.in_race:
                    progress(f"{work.name}: round {number + 1}, {contestant.name}")
                    contestant.measure()
    return [contestant.build_result() for contestant in contestants], versions
