"""What calls cost, counted with server and client in processes of their own, `tests/programs/call_costs.py`."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.programs import PROGRAMS, Program, make_environment

__all__ = ["SIDES", "Counting", "Figures", "counting", "system_calls"]

SIDES = ("client", "server")

_PROGRAM = str(PROGRAMS / "call_costs.py")
_SYSTEM_CALL = re.compile(r"(?:\d+ +)?(\w+)\(")


class Figures(NamedTuple):
    """What one call costs on one side, by the name of the figure, and by place what that is made of."""

    values: dict[str, float]
    places: dict[str, float]

    def check(self, name: str, limit: float, what: str) -> None:
        """See that a figure is not above its limit."""
        value = self.values.get(name, 0)
        places = "\n".join(f"  {number:12.3f} {place}" for place, number in self.places.items())
        assert value <= limit, f"{what}: {value:.10g} {name}, limit is {limit:.10g}; in\n{places}"


class Counting:
    """Two processes that call each other, and count when they are told to."""

    def __init__(self, client: Program) -> None:
        self._client = client

    def count(
        self, work: str, meter: str, few: int, many: int, repeat: int = 3, value: tuple[str, int] | None = None
    ) -> dict[str, Figures]:
        """Return, for each side, what one of `many` costs more than `few` do.

        Args:
            value: the kind of a large value and its size in bytes, for what is done with it.
        """
        self._client.type_line(json.dumps([work, value, meter, few, many, repeat]))
        sides: dict[str, dict[str, Any]] = json.loads(self._client.read_until("counted "))
        return {side: Figures(values, values.pop("places")) for side, values in sides.items()}


@contextmanager
def counting(storage: Path, logs: dict[str, Path] | None = None) -> Iterator[Counting]:
    """Start both processes for the length of a block.

    Args:
        logs: where strace writes what each side asks of the system.
    """
    environment = make_environment(storage)
    client, server = ([] if logs is None else ["strace", "-f", "-qq", "-o", str(logs[side])] for side in SIDES)
    with Program([_PROGRAM, "serve"], environment, prefix=server) as serving:
        address = serving.read_until("serving ")
        with Program([_PROGRAM, "count", address], environment, prefix=client, has_input=True) as program:
            yield Counting(program)
            program.end_input()
            ended = program.finish()
            assert (ended.status, ended.stderr) == (0, "")


def system_calls(log: Path, few: int, many: int, repeat: int) -> Figures:
    """Return what a side asked of the system in one call, from the log of a count by the meter "mark"."""
    parts: list[Counter[str]] = []
    inside = False
    for line in log.read_text().splitlines():
        if '"/count/begin"' in line:
            parts.append(Counter())
            inside = True
        elif '"/count/end"' in line:
            inside = False
        elif inside and (match := _SYSTEM_CALL.match(line)):
            parts[-1][match[1]] += 1
    before, after = (min(part, key=Counter.total) for part in (parts[-2 * repeat : -repeat], parts[-repeat:]))
    after.subtract(before)
    return Figures(
        {"all": after.total() / (many - few), **{name: number / (many - few) for name, number in after.items()}},
        {name: number / (many - few) for name, number in after.most_common()},
    )
