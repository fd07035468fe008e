"""Terminals in which the programs of `examples/` are started as people start them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.programs import PROGRAMS, Ended, Program, free_port, make_environment, run

__all__ = ["EXAMPLES", "Desk", "chat_in_two_rooms", "desk_without_servers", "lines_of"]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class Desk:
    """Terminals in which examples are started, and which are closed at the end."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self._open = ExitStack()

    def close(self) -> None:
        self._open.close()

    def event_server(self, *words: str) -> str:
        """Start an event server; return its address."""
        program = Program(["-m", "gpyro", "es", "-p", "0", *words], self.environment)
        server = self._open.enter_context(program)
        uri = server.read_until("URI=")
        server.read_until("Event Server started.")
        return uri

    def name_server(self) -> None:
        server = self._open.enter_context(Program(["-m", "gpyro", "ns"], self.environment))
        server.read_until("Name Server started.")

    def start(self, example: str, *words: str, has_input: bool = False, **variables: str) -> Program:
        """Start one, with these variables in its environment besides those of all."""
        program = Program(
            ["-u", str(EXAMPLES / example), *words], {**self.environment, **variables}, has_input=has_input
        )
        return self._open.enter_context(program)

    def serve(self, example: str, *words: str) -> Program:
        """Start one that serves, and wait for its first line, which tells that it is ready."""
        program = self.start(example, *words)
        program.read_until("")
        return program

    def run(self, example: str, *words: str) -> list[str]:
        """Run one to its end; return its lines."""
        return lines_of(run([str(EXAMPLES / example), *words], self.environment))

    def interrupt(self, line: str, example: str, *words: str) -> list[str]:
        """Run one that gets a ctrl-C just before the line that begins so is run; return what it prints."""
        tool = ["-u", str(PROGRAMS / "interrupted.py")]
        return lines_of(run([*tool, line, str(EXAMPLES / example), *words], self.environment))


def lines_of(ended: Ended) -> list[str]:
    """Return what a program has printed; it has succeeded."""
    assert (ended.status, ended.stderr) == (0, "")
    return ended.stdout.splitlines()


@contextmanager
def desk_without_servers(storage: Path) -> Iterator[Desk]:
    """Give a desk at which nothing runs yet, and where programs look for a name server at one port only."""
    desk = Desk(make_environment(storage, ns_port=free_port(), ns_hostname="127.0.0.1", ns_broadcast=0))
    try:
        yield desk
    finally:
        desk.close()


def chat_in_two_rooms(desk: Desk, example: str, berts: str = "tea") -> tuple[Program, Program, Program]:
    """Let Anna and Bert talk in one room, which Bert may spell otherwise, and Carl sit in another.

    Returns:
        The three, who have left.
    """
    anna = desk.start(example, "anna", "tea", has_input=True)
    anna.read_until("*** anna, you are in tea")
    bert = desk.start(example, "bert", berts, has_input=True)
    anna.read_until("*** bert comes in")
    carl = desk.start(example, "carl", "coffee", has_input=True)
    carl.read_until("*** carl, you are in coffee")

    for number in range(20):
        anna.type_line(f"line {number}")
    bert.read_until("<anna> line 19")
    bert.type_line("and ünïcode — too")
    anna.read_until("<bert> and ünïcode — too")
    bert.type_line("/quit")
    anna.read_until("*** bert leaves")
    anna.end_input()
    carl.end_input()
    return anna, bert, carl
