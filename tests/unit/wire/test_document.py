"""docs/design/wire.md says what the code does: its tables are rendered from the code and compared."""

from __future__ import annotations

import enum
import re
from pathlib import Path

import pytest

from gpyro.wire import hello, native, sniff
from gpyro.wire.native import RECEIVE, SEND, FrameType, Side, State

DOCUMENT = Path(__file__).parents[3] / "docs/design/wire.md"


def rows_of(table: str) -> list[list[str]]:
    """Return the cells of the table behind `<!-- table: ... -->`, without its two head lines."""
    found = re.search(rf"<!-- {table}: .*? -->\n(.*?)<!-- end -->", DOCUMENT.read_text(), re.DOTALL)
    assert found, f"{DOCUMENT} has no table {table!r}"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines()[2:]]


def render_moves(moves: dict[int, State], state: State) -> str:
    """Write one cell of the state table: types by number, each with the state after it if it is another."""
    ends = {kind: "" if after is state else f" → {after.value}" for kind, after in moves.items()}
    return ", ".join(FrameType(kind).name + ends[kind] for kind in sorted(moves)) or "–"


def reachable_states(side: Side) -> set[State]:
    moves = [*RECEIVE.items(), *SEND.items()]
    after = {state for (whose, _), step in moves if whose is side for state in step.values()}
    return after | {State.NEW, State.CLOSED, State.FAILED}


def test_state_table_in_the_document_is_the_one_in_the_code() -> None:
    expected = [
        [
            side.value, state.value,
            render_moves(RECEIVE.get((side, state), {}), state), render_moves(SEND.get((side, state), {}), state),
        ]
        for side in Side
        for state in State
        if state in reachable_states(side)
    ]
    assert rows_of("states") == expected


def test_every_state_of_the_code_is_reachable_and_every_table_entry_belongs_to_a_reachable_one() -> None:
    for side, state in [*RECEIVE, *SEND]:
        assert state in reachable_states(side)
    assert reachable_states(Side.CLIENT) | reachable_states(Side.SERVER) == set(State)


def arrows(text: str, sides: tuple[str, ...]) -> set[tuple[str, str, str, str, str]]:
    """Read the pictures: (side, state, - or =, type, state after)."""
    found, side = set(), ""
    for line in text.splitlines():
        words = line.split()
        if words and words[0] in sides:
            side = words[0]
        steps = list(re.finditer(r"([-=])\1([A-Z]+)\1\1> (\w+)", line))
        for number, step in enumerate(steps):
            if number:
                sources = [steps[number - 1][3]]
            else:
                sources = [name for name in re.findall(r"[a-z]+", line[: step.start()]) if name not in sides]
            found |= {(side, source, step[1], step[2], step[3]) for source in sources}
    return found


def test_pictures_in_the_document_and_in_the_module_show_the_moves_of_the_table() -> None:
    moves = {
        (side.value, state.value, sign, FrameType(kind).name, after.value)
        for sign, table in (("-", SEND), ("=", RECEIVE))
        for (side, state), steps in table.items()
        for kind, after in steps.items()
        if after is not state
    }
    document = DOCUMENT.read_text()
    picture = document[document.index("    client  new --") : document.index("    (-- sent")]
    assert arrows(picture, ("client", "server")) == moves
    assert native.__doc__
    module = native.__doc__
    picture = module[module.index("    client  NEW --") : module.index("    (-- sent")]
    lowered = re.sub(r"(?<![-=A-Z])[A-Z]+(?![-=A-Z])", lambda word: word[0].lower(), picture)
    assert arrows(lowered, ("client", "server")) == moves


@pytest.mark.parametrize(
    ("table", "members"),
    [
        ("types", native.FrameType),
        ("flags", native.Flag),
        ("annotations", native.Annotation),
        ("features", hello.Feature),
        ("mechanisms", hello.Mechanism),
        ("fields", hello.Field),
    ],
)
def test_numbers_in_the_document_are_those_of_the_code(table: str, members: type[enum.IntEnum]) -> None:
    written = [(int(row[0], 0), row[1]) for row in rows_of(table)]
    assert written == [(member.value, name) for name, member in members.__members__.items()]


def test_limits_in_the_document_are_those_of_the_code() -> None:
    settings = native.WireLimits()
    for name, value, _ in rows_of("limits"):
        assert int(value) == getattr(native if name.isupper() else settings, name), name


def test_strangers_in_the_document_get_what_the_code_gives_them() -> None:
    rows = rows_of("dialects")
    assert sorted(row[1] for row in rows) == sorted(sniff.Dialect.__members__)
    for head, name, answer in rows:
        dialect = sniff.sniff(bytes.fromhex(head.strip("`")))
        assert dialect is sniff.Dialect[name]
        assert (answer == "nothing") is (sniff.build_farewell(dialect) == b"")
