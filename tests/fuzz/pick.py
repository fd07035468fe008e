"""Pick what is worth committing of the inputs that campaigns kept: `python -m tests.fuzz.pick DIR`.

DIR is what `python -m tests.fuzz --keep DIR` wrote. Each target gets at most MOST of them: those that take steps
from line to line of gpyro which nothing in the corpus takes yet, the most new ones for their length first.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.make_corpus import CORPUS
from tests.fuzz.targets import TARGETS

__all__ = ["main", "steps_of"]

MOST = 12
#: Of an input that is committed.
MAX_BYTES = 512

Step = tuple[str, int, int]


def steps_of(target: Callable[[bytes], None], data: bytes) -> set[Step]:
    """Return the steps from line to line that gpyro takes with an input."""
    steps: set[Step] = set()
    last: dict[int, int] = {}  # by id: a frame that is kept would keep its views

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        name = frame.f_code.co_filename
        if "/gpyro/" not in name:
            return None
        line = frame.f_lineno
        steps.add((name, last.get(id(frame), 0), line))
        last[id(frame)] = line
        return trace

    sys.settrace(trace)
    try:
        target(data)
    finally:
        sys.settrace(None)
    return steps


def pick(name: str, folder: Path) -> list[bytes]:
    """Return what to add to the corpus of a target."""
    known: set[Step] = set()
    for path in sorted((CORPUS / name).iterdir()):
        known |= steps_of(TARGETS[name], path.read_bytes())
    kept = [data for path in sorted(folder.iterdir()) if len(data := path.read_bytes()) <= MAX_BYTES]
    new = {data: steps_of(TARGETS[name], data) - known for data in kept}
    picked: list[bytes] = []
    while len(picked) < MOST and any(new.values()):
        best = max(sorted(new), key=lambda data: len(new[data]) / (len(data) + 20))
        picked.append(best)
        covered = new[best]
        new = {data: steps - covered for data, steps in new.items() if steps - covered}
    return picked


def main() -> None:
    """Add to the corpus what the folder on the command line has to offer."""
    for name in TARGETS:
        folder = Path(sys.argv[1], name)
        if not folder.is_dir():
            continue
        picked = pick(name, folder)
        for data in picked:
            (CORPUS / name / f"found-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
        print(f"{name}: {len(picked)} of {len(list(folder.iterdir()))}")


if __name__ == "__main__":
    main()
