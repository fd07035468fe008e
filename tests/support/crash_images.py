r"""What may be on a disk after the power failed: built from a log of the system calls that a program made.

    words = [*record(log), sys.executable, ...]         run this
    events = read_log(log.read_text(), directory, notes)
    image = make_image(events[:k], "torn", random.Random(1))
    write_image(image, elsewhere)

The rules are those of a disk that owes nothing but what fsync promised:

    what was written to a file before an fsync of it that has ended is there
    of what was written since, any part may be there and any part missing: whole writes, in any order, or only some
    sectors of one; the same goes for its length
    names of files (made, renamed, removed) are there in order, at least up to the last fsync of their directory
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["KINDS", "Event", "Image", "make_image", "read_log", "record", "write_image"]

#: How much of what no fsync promised is there: all, nothing, the first writes, some of them, some sectors of them.
KINDS = ("all", "none", "prefix", "some", "torn")

CALLS = "openat,pwrite64,write,ftruncate,fsync,fdatasync,unlink,rename"
SECTORS = (512, 4096)

Image = dict[str, bytes]

_LINE = re.compile(r"(\d+) +(?:<\.\.\. )?(\w+)(?:\((.*)| resumed>(.*))$")
_DESCRIPTOR = re.compile(r"\d+<([^>]*)>")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


class Event(NamedTuple):
    """One thing that the program did: "write", "size", "sync", "made", "gone", "renamed" or "note"."""

    kind: str
    name: str
    data: bytes = b""
    #: Where it was written, or the new size.
    offset: int = 0


def record(log: Path) -> list[str]:
    """Return the words before a command that record what it does."""
    return ["strace", "-f", "-y", "-xx", "-s", "1000000", "-o", str(log), "-e", f"trace={CALLS}"]


# -- reading -------------------------------------------------------------------------------------------------


def read_log(text: str, directory: Path, notes: Path) -> list[Event]:
    """Return what was done to the files of a directory, and what was written to the file of notes.

    A write counts from where it begins, an fsync from where it ends.
    """
    events: list[Event] = []
    unfinished: dict[str, str] = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        process, call, arguments, resumed = match.groups()
        is_sync = call in ("fsync", "fdatasync")
        if arguments is None:
            arguments = unfinished.pop(process, "") + resumed
            if not is_sync:
                continue  # It was counted where it began.
        elif arguments.endswith("<unfinished ...>"):
            arguments = unfinished[process] = arguments.removesuffix(" <unfinished ...>")
            if is_sync:
                continue
        if not re.search(r"= -\d", arguments.rpartition(")")[2]):
            events += _events(call, arguments, str(directory), str(notes))
    return events


def _events(call: str, arguments: str, directory: str, notes: str) -> Iterator[Event]:
    texts = [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(arguments)]
    found = _DESCRIPTOR.match(arguments)
    path = _plain(found.group(1)) if found else texts[0].decode() if texts else ""
    if call == "openat":
        path = texts[0].decode()
        if "O_CREAT" in arguments and path.startswith(f"{directory}/"):
            yield Event("made", path)
    elif path == notes and call == "write":
        yield Event("note", path, texts[0])
    elif not path.startswith(directory):
        return
    elif call in ("pwrite64", "write"):
        numbers = re.findall(r", (\d+)", arguments.rpartition('"')[2])
        assert call == "pwrite64", f"{path} is written without saying where"
        yield Event("write", path, texts[0], int(numbers[1]))
    elif call == "ftruncate":
        yield Event("size", path, offset=int(re.findall(r", (\d+)", arguments)[-1]))
    elif call in ("fsync", "fdatasync"):
        yield Event("sync", path)
    elif call == "unlink":
        yield Event("gone", path)
    elif call == "rename":
        yield Event("renamed", path, texts[1])


def _plain(text: str) -> str:
    return bytes.fromhex(text.replace("\\x", "")).decode()


# -- building ------------------------------------------------------------------------------------------------


class _File:
    def __init__(self) -> None:
        self.promised = b""
        self.pending: list[Event] = []

    def sync(self) -> None:
        self.promised = _apply(self.promised, self.pending)
        self.pending = []

    def content(self, kind: str, rnd: random.Random) -> bytes:
        kept = self.pending
        if kind == "none":
            kept = []
        elif kind == "prefix":
            kept = kept[: rnd.randrange(len(kept) + 1)]
        elif kind in ("some", "torn"):
            share = rnd.random()
            kept = [event for event in kept if rnd.random() < share]
        if kind == "torn":
            kept = [part for event in kept for part in _tear(event, rnd)]
        return _apply(self.promised, kept)


def _apply(content: bytes, events: Iterable[Event]) -> bytes:
    found = bytearray(content)
    for event in events:
        end = event.offset + len(event.data)
        if event.kind == "size":
            del found[event.offset :]
        found.extend(bytes(max(end - len(found), 0)))
        if event.kind == "write":
            found[event.offset : end] = event.data
    return bytes(found)


def _tear(event: Event, rnd: random.Random) -> Iterator[Event]:
    """Go through the parts of a write that are there; sometimes it is whole."""
    if event.kind != "write" or rnd.random() < 0.5:
        yield event
        return
    sector = rnd.choice(SECTORS)
    start, end = event.offset, event.offset + len(event.data)
    while start < end:
        stop = min(start - start % sector + sector, end)
        if rnd.random() < 0.5:
            yield event._replace(data=event.data[start - event.offset : stop - event.offset], offset=start)
        start = stop


def make_image(events: Iterable[Event], kind: str, rnd: random.Random) -> Image:
    """Return one state that the disk may be in when the power fails after these events: {path: content}."""
    names: dict[str, _File] = {}
    #: What the names were at the last fsync of the directory, and after each change since.
    histories = [dict(names)]
    for event in events:
        if event.kind in ("write", "size") and event.name in names:
            names[event.name].pending.append(event)
        elif event.kind == "sync" and event.name in names:
            names[event.name].sync()
        elif event.kind == "sync":
            histories = [dict(names)]
        elif event.kind in ("made", "gone", "renamed"):
            _rename(names, event)
            histories.append(dict(names))
    chosen = {"all": histories[-1], "none": histories[0]}.get(kind) or rnd.choice(histories)
    return {name: file.content(kind, rnd) for name, file in chosen.items()}


def _rename(names: dict[str, _File], event: Event) -> None:
    if event.kind == "made":
        names.setdefault(event.name, _File())
    elif event.kind == "gone":
        names.pop(event.name)
    else:
        names[event.data.decode()] = names.pop(event.name)


def write_image(image: Image, directory: Path) -> None:
    """Write an image into an empty directory."""
    for name, content in image.items():
        path = directory / Path(name).name
        path.write_bytes(content)
        path.chmod(0o600)
