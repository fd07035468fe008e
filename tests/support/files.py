"""For tests of storages in files: writes to the disk that are held up or fail, and files that nobody may touch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest

from gpyro import hub
from gpyro.storage.sqlitefile import FileWriter

__all__ = ["SECONDS", "Gate", "left_untouched"]

#: A busy machine may be slow; what takes longer than this hangs.
SECONDS = 20.0


class Gate:
    """Lets writes to the disk through one by one, and makes them fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, writer: type[FileWriter[Any]]) -> None:
        self.begun = hub.Bell()
        self.go = hub.Bell()
        self.failure: Exception | None = None
        write = writer.write

        def gated(writer: FileWriter[Any], entries: list[Any]) -> None:
            self.begun.ring()
            assert self.go.wait(SECONDS)
            if self.failure is not None:
                raise self.failure
            write(writer, entries)

        monkeypatch.setattr(writer, "write", gated)

    def hold(self, *acts: Any) -> list[gevent.Greenlet[..., Any]]:
        """Do these at a time, and return when the first is at the disk and the others wait."""
        greenlets = [gevent.spawn(acts[0])]
        gevent.sleep(0)
        assert self.begun.wait(SECONDS)
        greenlets += [gevent.spawn(act) for act in acts[1:]]
        gevent.sleep(0)
        assert not any(greenlet.ready() for greenlet in greenlets)
        return greenlets


@contextmanager
def left_untouched(path: str) -> Iterator[None]:
    """See that opening the storage is refused, and that no byte in its directory is another afterwards."""

    def look() -> dict[str, bytes]:
        files = sorted(Path(path).parent.iterdir())
        return {file.name: file.read_bytes() if file.is_file() else b"" for file in files}

    before = look()
    yield
    assert look() == before
