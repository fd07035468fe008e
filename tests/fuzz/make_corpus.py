"""Write the seeds of the corpus: golden frames, golden bytes of the codec, logins, addresses of the documents.

`python -m tests.fuzz.make_corpus` writes `corpus/TARGET/seed-*`. The files beside them were found by campaigns.
The same seeds come out each time, as long as what they are made of stays the same.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from gpyro.auth import format_key, format_verifier
from gpyro.serializers import Codec
from gpyro.wire.hello import Greeting, Mechanism, build_denial, build_fields
from gpyro.wire.login import ClientLogin, ServerLogin, build_challenge_fields
from gpyro.wire.native import PREFACE, Side, State
from gpyro.wire.sniff import Dialect, build_farewell
from tests.fuzz.codec_target import Colour, Picky, Place, Plain, Point, Remote, Room, Slip, Words
from tests.fuzz.frames_target import LOGIN, SEALED, SMALL_IS_LARGE, STATES
from tests.fuzz.handshake_target import ACCOUNTS, KEY, NONCE, challenge_for, hello_of
from tests.fuzz.pickle_target import CODEC as PICKLES
from tests.support.wire_pair import record_conversation

__all__ = ["CORPUS", "ROOT", "main", "seeds"]

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
FRAMES = ROOT / "tests" / "unit" / "wire" / "frames"

Seeds = Iterator[tuple[str, bytes]]


def seeds() -> dict[str, dict[str, bytes]]:
    """Return all seeds: by target and name."""
    made = {
        "codec": codec, "frames": frames, "handshake": handshake, "keyfile": keyfile, "pickled": pickled,
        "uri": uri,
    }  # fmt: skip
    return {target: {f"seed-{name}": data for name, data in make()} for target, make in made.items()}


def blob(data: bytes) -> bytes:
    """Put a byte with the length in front, as `Source.blob` reads it."""
    return bytes((len(data),)) + data


def read_hex(path: Path) -> bytes:
    """Read hex digits; what follows a # on a line is a comment."""
    return bytes.fromhex("".join(line.partition("#")[0] for line in path.read_text().splitlines()))


def frames() -> Seeds:
    """Golden frames, each for the side and state that it is for, and whole conversations."""
    for path in sorted(FRAMES.rglob("*.hex")):
        case = json.loads(path.with_suffix(".json").read_text())
        side = Side(case["receiver"])
        state = STATES[side].index(State(case["state"]))
        flags = (side is Side.CLIENT) | state << 1 | SEALED | (LOGIN if "before_welcome" not in case else 0)
        data = read_hex(path)
        if len(data) <= 1024:
            bad = "bad-" if path.parent.name == "invalid" else ""
            yield bad + path.stem, bytes((flags, len(data) % 40, 3, 1)) + data
    for login in (False, True):
        pair = record_conversation(login)
        for side, end in ((Side.SERVER, pair.client), (Side.CLIENT, pair.server)):
            flags = (side is Side.CLIENT) | SEALED | SMALL_IS_LARGE | (LOGIN if login else 0)
            yield f"talk-{side.value}-{login:d}", bytes((flags, 30, 31, 2)) + bytes(end.sent)


def codec() -> Seeds:
    """Golden bytes of each extension, and values of the kinds that the target registers."""
    text = (ROOT / "tests" / "unit" / "test_serializers_golden.py").read_text()
    for number, digits in enumerate(re.findall(r'^    \((?:\d+), .*, "([0-9a-f ]+)"\),$', text, re.MULTILINE)):
        yield f"golden-{number:02}", b"\x20" + blob(b"part") + bytes.fromhex(digits)
    plain = Plain()
    plain.__dict__.update(a=1, b=None)
    fault = Slip("no", (1, 2))
    fault.__cause__ = KeyError("k")
    values: dict[str, Any] = {
        "point": Point(1, [Point("x")]), "place": Place(1, 2), "colour": [Colour.RED, Colour.GREEN],
        "plain": plain, "words": Words(["a", (1,)]), "picky": Picky(5), "remote": Remote(3, b"abc"),
        "fault": fault, "nested": {"a": [1, (2, {3: {4.5}})], "b": b"x", "c": None, "d": True},
        "keys": {(1, 2): {"x"}, 3: frozenset({(4,)}), None: 10**30},
    }  # fmt: skip
    one = Codec(references=Room())
    for name, value in values.items():
        yield name, b"\x00" + one.encode_value(value)[0]
    yield "arguments", b"\x01" + one.encode_arguments((1, (2,)), {"k": {3: 4}})[0]
    yield "error", b"\x02" + one.encode_error(KeyError(1, (2,)), ["line one"])[0]
    yield "error-user", b"\x02" + one.encode_error(fault, ["line one"])[0]
    yield "error-system", b"\x02" + one.encode_error(FileNotFoundError(2, "no", "/x"), None)[0]
    array = bytes.fromhex("c7 0b 0d 94 a3") + b"<u2" + bytes.fromhex("91 02 a1 43") + b"\x00"
    yield "array", b"\x20" + blob(b"abcd") + b"\xc7\x0a\x0d" + array[3:]


def pickled() -> Seeds:
    """Bodies as Python's pickler writes them, without their first two bytes."""
    plain = Plain()
    plain.__dict__.update(a=1, b=None)
    shared = [1, 2]
    values: dict[str, Any] = {
        "point": Point(1, [Point("x")]), "plain": plain, "words": Words(["a", (1,)]), "remote": Remote(3, b"abc"),
        "nested": {"a": [1, (2, {3: {4.5}})], "b": b"x", "c": None, "d": True}, "shared": [shared, shared],
        "large": [10**30, -1, 255, 65536, "x" * 300, b"y" * 300, bytearray(b"z")], "set": {1, (2, 3)},
        "frozen": frozenset({1}), "ordered": OrderedDict(a=1), "decimal": Decimal("1.5"), "colour": Colour.RED,
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
    }  # fmt: skip
    for name, value in values.items():
        yield name, b"\x00" + PICKLES.encode_value(value)[0][2:]
    yield "arguments", b"\x01" + PICKLES.encode_arguments((1, [2]), {"k": {3: 4}})[0][2:]


def handshake() -> Seeds:
    """Honest words of both sides, for each part of the target."""
    for secret, name in ((KEY, "key"), ("passphrase", "passphrase")):
        client = ClientLogin(secret, b"", NONCE)
        hello = hello_of(client)[len(PREFACE) + 16 :]
        login = ServerLogin(ACCOUNTS, Greeting.parse(hello), b"", NONCE)
        challenge = challenge_for(login)[len(PREFACE) + 16 :]
        yield f"words-hello-{name}", b"\0" + hello
        yield f"words-challenge-{name}", b"\0" + challenge
        yield f"server-{name}", b"\x01\x02" + blob(hello)
        yield f"server-stranger-{name}", b"\x01\x00" + blob(hello) + blob(build_fields({4: bytes(32)}))
        flags = bytes((name != "key",))
        yield f"client-{name}", b"\x02" + flags + blob(challenge) + blob(build_fields({4: bytes(32)}))
        for message in range(4):
            yield f"between-{name}-{message}", b"\x03" + flags + bytes((message, 30, 1))
    inside = ClientLogin(KEY, b"certificate", NONCE)
    yield "server-binding", b"\x01\x03" + blob(hello_of(inside)[len(PREFACE) + 16 :])
    custom = Greeting(mechanism=Mechanism.CUSTOM, fields=build_challenge_fields(b"challenge"))
    yield "words-custom", b"\0" + custom.build()
    yield "words-denial", b"\0" + build_denial(3, "security reasons")
    yield "words-preface", b"\0" + PREFACE
    for dialect, first in (("http", b"GET / HTTP/1.1"), ("tls", b"\x16\x03\x01\x02"), ("pyro3", b"PYRO\0\x05")):
        yield f"words-{dialect}", b"\0" + first
    yield "words-pyro5", b"\0" + build_farewell(Dialect.PYRO5)


def keyfile() -> Seeds:
    """Files as `gpyro keygen` writes them, with comments, roles and a passphrase."""
    verifier = KEY.verifier(["operator", "reader"])
    yield "key", format_key(KEY).encode()
    yield "accounts", ("# who may come\n\n" + format_verifier(verifier) + format_verifier(KEY.verifier())).encode()
    yield "both", (format_verifier(verifier).replace("press-4", "press-5") + format_key(KEY)).encode()
    yield "passphrase", b"correct horse battery staple\n"
    yield "comment", b"# of the press\ncorrect horse\n"
    yield "swapped", " ".join(format_key(KEY).split()[i] for i in (0, 2, 1)).encode()


def uri() -> Seeds:
    """Addresses of the documents, forms of each kind, parts to build from, names."""
    documents = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "gpyro" / "uri.py"]
    text = "".join(path.read_text() for path in documents)
    found = sorted(set(re.findall(r"PYRO[A-Z]*://[^\s`'\")>,;]+", text)))[:40]
    for number, address in enumerate((*found, "PYRO:obj@host:1", "PYRO://[fe80::1%eth0]:7/abc", "PYRO://h:1/ключ")):
        yield f"address-{number:02}", b"\0" + address.encode()
    for number, parts in enumerate(("host\0id\0\x09", "[::1]\0id", "./u:%2Frun%2Fx\0id", "\0:Group.name")):
        for protocol in (0, 4):
            yield f"build-{number}-{protocol}", bytes((protocol << 2 | 1,)) + parts.encode()
    yield "build-bracket", b"\x11\0[e"
    yield "build-surrogate", b"\x01./u:%2Frun\xed\xa0\x80\0id"
    yield "unix", b"\x02/run/a b/gpyro.sock"
    yield "unix-surrogate", b"\x02/run/\xed\xa0\x80"
    names = (":Default.our_object", "relative.name", ":", ":a..b", "a/b", "ключ", "[e]", "x" * 256)
    for number, name in enumerate(names):
        yield f"name-{number}", b"\x03" + name.encode()


def main() -> None:
    """Write the seeds over those that are there."""
    for target, made in seeds().items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("seed-*"):
            old.unlink()
        for name, data in made.items():
            (folder / name).write_bytes(data)
        print(f"{target}: {len(made)} seeds, {sum(map(len, made.values()))} bytes")


if __name__ == "__main__":
    main()
