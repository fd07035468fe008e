"""How many steps `re` can need for a pattern at most, whatever the text; counted from the parse tree.

A backtracking matcher tries the ways through a pattern one after the other. Let K be what everything behind a
piece costs each time that it is tried. Then the piece and all behind it cost at most

    steps + ways * K

where `steps` is what the piece costs by itself, over all its ways, and `ways` is how often it hands on. Pieces in
a row multiply their ways; so do the rounds of a repeat. That is the whole proof, with one refinement that makes
it useful: two branches that begin with different characters, or a repeat and what follows it, are never both
worth trying at the same place. The other one fails at its first character, which costs its `stall`, and does
not hand on. Branches that differ later, as `bar|baz`, cost all their steps, but only one of them hands on. So
`[^.]+\\.[^.]+` has one way, and `(a|a)*` has two for each round.

A step is one test of a character or a place, one branch or one round begun. Sets are compared by `sets.py`.
A repeat of something that can be empty is never bounded here: matchers differ in how they leave it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

from gpyro._patterns import sets
from gpyro._patterns.tree import REPEATS, Tree, Unbounded, flags_within

__all__ = ["CAP", "count_steps"]

#: Counts stop growing here: far beyond what is ever allowed, and cheap to add and multiply.
CAP = 10**12


@dataclass(frozen=True)
class Shape:
    """What a piece is, whatever follows it.

    Attributes:
        first: the bits that it can begin with.
        passes: whether it can hand on without taking a character, so that what follows is tried at once.
        least: the fewest characters that it takes.
        stall: steps when the next character is none of `first`.
        passings: how often it hands on then.
    """

    first: int
    passes: bool
    least: int
    stall: int
    passings: int


@dataclass(frozen=True)
class Follow:
    """What stands behind a piece: what it can begin with, and its steps when the next character is none of it."""

    first: int
    stall: int


@dataclass(frozen=True)
class Cost:
    """What a piece costs: `steps + ways * K`."""

    steps: int
    ways: int


def count_steps(tree: Tree, flags: int, length: int, whole: bool) -> int:
    """Return a number of steps that matching a text of that length never exceeds; it stops growing at CAP.

    Args:
        tree: of an expression that `tree.parse` took.
        flags: those of `re` that hold for all of it.
        length: the characters of the text.
        whole: whether the match has to reach the text's end.

    Raises:
        Unbounded: something in it cannot be bounded at all.
    """
    counter = _Counter(length)
    # Where a match need not reach the end, it is one as soon as it gets there.
    cost = counter.sequence(list(tree), flags, Follow(sets.END if whole else sets.ALL, 1))
    return min(cost.steps + cost.ways, CAP)


SINGLES = ("LITERAL", "NOT_LITERAL", "ANY", "IN")
EMPTY = Shape(0, True, 0, 0, 1)


class _Counter:
    """Counts one pattern; keeps the shapes, so that each piece is looked at twice and no more."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._shapes: dict[tuple[int, int], Shape] = {}

    # -- shapes

    def shape_of(self, tree: Tree, flags: int) -> Shape:
        """Return the shape of pieces in a row."""
        key = (id(tree), flags)
        if key not in self._shapes:
            found = EMPTY
            for op, argument in reversed(list(tree)):
                found = _join(self._piece_shape(op, argument, flags), found)
            self._shapes[key] = found
        return self._shapes[key]

    def _piece_shape(self, op: Any, argument: Any, flags: int) -> Shape:
        if op.name == "AT":
            is_end = argument.name.startswith("AT_END")
            return Shape(_end_mask(argument.name), False, 0, 1, 0) if is_end else Shape(0, True, 0, 1, 1)
        if op.name == "SUBPATTERN":
            return self.shape_of(argument[3], flags_within(argument, flags))
        if op.name == "BRANCH":
            return _either([self.shape_of(branch, flags) for branch in argument[1]])
        if op.name in REPEATS:
            low, _, body = argument
            inner = self.shape_of(body, flags)
            passes = inner.passes or low == 0
            return Shape(inner.first, passes, inner.least * low, inner.stall + 1, inner.passings + (low == 0))
        return Shape(sets.mask_of(op, argument, flags), False, 1, sets.weight_of(op, argument), 0)

    # -- costs

    def sequence(self, tree: Tree, flags: int, follow: Follow) -> Cost:
        """Return the cost of pieces in a row, counted from the last to the first."""
        total = Cost(0, 1)
        for op, argument in reversed(list(tree)):
            here = self._piece(op, argument, flags, follow)
            total = Cost(min(here.steps + here.ways * total.steps, CAP), min(here.ways * total.ways, CAP))
            follow = _before(self._piece_shape(op, argument, flags), follow)
        return total

    def _piece(self, op: Any, argument: Any, flags: int, follow: Follow) -> Cost:
        if op.name == "SUBPATTERN":
            return self.sequence(argument[3], flags_within(argument, flags), follow)
        if op.name == "BRANCH":
            return self._branch(argument[1], flags, follow)
        if op.name in REPEATS:
            return self._repeat(argument, flags, follow)
        return Cost(1 if op.name == "AT" else sets.weight_of(op, argument), 1)

    def _branch(self, branches: list[Tree], flags: int, follow: Follow) -> Cost:
        costs = [self.sequence(branch, flags, follow) for branch in branches]
        starts = [_before(self.shape_of(branch, flags), follow) for branch in branches]
        if _are_apart([start.first for start in starts]):
            stalls = sum(start.stall for start in starts)
            steps = max(cost.steps for cost in costs) + stalls + len(branches)
            return Cost(min(steps, CAP), max(cost.ways for cost in costs))
        steps = sum(cost.steps for cost in costs) + len(branches)
        is_one_way = _exclude_each_other([_lead(branch, flags) for branch in branches])
        ways = [cost.ways for cost in costs]
        return Cost(min(steps, CAP), max(ways) if is_one_way else min(sum(ways), CAP))

    def _repeat(self, argument: Any, flags: int, follow: Follow) -> Cost:
        low, high, body = argument
        shape = self.shape_of(body, flags)
        if shape.least == 0 and high > 1:
            raise Unbounded("repeats something that can be empty")
        rounds = min(int(high), self.length // shape.least) if shape.least else 1
        # Behind one round stands the next one, or what follows them all.
        again = Follow(shape.first | follow.first, shape.stall + shape.passings * follow.stall + follow.stall + 1)
        cost = self.sequence(body, flags, again)
        is_apart = not shape.passes and not shape.first & follow.first
        return self._rounds(low, rounds, cost, follow, is_apart)

    def _rounds(self, low: int, rounds: int, cost: Cost, follow: Follow, is_apart: bool) -> Cost:
        """Add up the rounds; each is another one, or the way out, or both."""
        exits = max(rounds - low, 0)
        each = cost.steps + 1 + (follow.stall if is_apart else 0)
        if cost.ways == 1:
            return Cost(min(each * (rounds + 1), CAP), 1 if is_apart else 1 + exits)
        # From the last round to the first. Both numbers double each time at least, so this is over soon.
        steps, ways = each, 1
        for index in reversed(range(rounds)):
            steps = min(each + cost.ways * steps, CAP)
            ways = min(cost.ways * ways + (index >= low and not is_apart), CAP)
            if ways == CAP == steps:
                break
        return Cost(steps, ways)


def _join(first: Shape, second: Shape) -> Shape:
    return Shape(
        first.first | (second.first if first.passes else 0),
        first.passes and second.passes,
        first.least + second.least,
        min(first.stall + first.passings * second.stall, CAP),
        min(first.passings * second.passings, CAP),
    )


def _either(shapes: list[Shape]) -> Shape:
    first = 0
    for shape in shapes:
        first |= shape.first
    return Shape(
        first,
        any(shape.passes for shape in shapes),
        min(shape.least for shape in shapes),
        min(sum(shape.stall for shape in shapes) + len(shapes), CAP),
        min(sum(shape.passings for shape in shapes), CAP),
    )


def _before(shape: Shape, follow: Follow) -> Follow:
    """Return what stands behind the piece in front of this one."""
    first = shape.first | (follow.first if shape.passes else 0)
    return Follow(first, min(shape.stall + shape.passings * follow.stall, CAP))


def _are_apart(masks: list[int]) -> bool:
    seen = 0
    for mask in masks:
        if seen & mask:
            return False
        seen |= mask
    return True


def _lead(tree: Tree, flags: int) -> list[int]:
    """Return the bits of the first characters, one after the other, as far as there is no choice and no repeat."""
    found: list[int] = []
    for op, argument in tree:
        if op.name == "SUBPATTERN":
            inside = argument[3]
            found += _lead(inside, flags_within(argument, flags))
            if any(inner.name not in SINGLES for inner, _ in inside):
                break
        elif op.name not in SINGLES:
            break
        else:
            found.append(sets.mask_of(op, argument, flags))
    return found


def _exclude_each_other(leads: list[list[int]]) -> bool:
    """Tell whether each two differ in some character for certain."""
    return all(
        any(not one & other for one, other in zip(first, second, strict=False))
        for first, second in combinations(leads, 2)
    )


def _end_mask(name: str) -> int:
    # `\\Z` is AT_END_STRING; `$` is also right before a newline.
    return sets.END if name == "AT_END_STRING" else sets.END | sets.NEWLINE

