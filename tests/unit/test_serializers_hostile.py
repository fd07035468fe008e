"""What a peer of bad will sends: nothing but errors of gpyro comes out, soon, and in little memory."""

from __future__ import annotations

import fractions
import random
import subprocess
import sys
import threading
import tracemalloc
import uuid
from collections.abc import Callable
from typing import Any

import ormsgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpyro._serializers.keys import comparisons
from gpyro._serializers.limits import Extension
from gpyro._serializers.scan import NATIVE_NESTING, guarded_unpackb, items_of, nesting_of
from gpyro._serializers.standard import DECODERS
from gpyro.errors import PyroError, RemoteProtocolError, SerializationError
from gpyro.serializers import Codec, CodecLimits, register

CODEC = Codec()
Ext = ormsgpack.Ext


def ext(kind: int, payload: bytes) -> bytes:
    return ormsgpack.packb(Ext(kind, payload))


def refused(body: bytes, codec: Codec = CODEC) -> str:
    """Return the message with which all three ways to decode refuse a body."""
    for decode in (codec.decode_arguments, codec.decode_error, codec.decode_value):
        with pytest.raises(PyroError) as caught:
            decode(body, ())
    return str(caught.value)


def only_gpyro_errors(decode: Callable[..., Any], *args: Any) -> None:
    try:
        decode(*args)
    except PyroError:
        pass


# Bombs


@pytest.mark.parametrize(
    "body",
    [
        b"\xdd\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff\xc0", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01", b"\xc9\xff\xff\xff\xff\x01\xc0", b"\xdc\xff\xff",
        ext(1, b"\xdd\xff\xff\xff\xff"), ext(3, b"\xdd\x7f\xff\xff\xff\x01"), ext(5, b"\xdf\xff\xff\xff\xff"),
        b"\x91" * 100_000, b"\x91" * 100_000 + b"\xc0", b"\x81\xa1a" * 100_000, ext(1, b"\x91" * 100_000),
        b"\xc1", b"", b"\x92\x01", b"\xa5abc", b"\xa2\xff\xfe", b"\x81\x01\x01", b"\x81\xd4\x01\x00\x01",
    ],
    ids=lambda body: repr(body[:12]),
)  # fmt: skip
def test_lengths_that_lie_and_endless_nesting_are_refused_without_memory(body: bytes) -> None:
    tracemalloc.start()
    try:
        refused(body)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


#: Their payload is any bytes.
PLAIN_BYTES = {Extension.BYTEARRAY, Extension.MEMORYVIEW}


@pytest.mark.parametrize("kind", sorted(DECODERS.keys() - PLAIN_BYTES))
def test_extensions_nested_ten_thousand_deep_are_refused(kind: int) -> None:
    body = b"\xc0"
    for _ in range(10_000):
        body = ext(kind, b"\x91" + body)
    refused(body)
    only_gpyro_errors(CODEC.decode_value, body[:4000], ())


def nested(levels: int, arrays: int, padding: int) -> bytes:
    body = b"\xc0"
    for _ in range(levels):
        body = b"\x91" * arrays + ext(Extension.TUPLE, b"\x91" + body + b"\x00" * padding)
    return body


def test_arrays_between_extensions_cannot_exhaust_the_stack() -> None:
    # Without an account, 20 extensions with 1,000 arrays between them overflow 8 MiB of C stack. A crash
    # would take the test run with it, hence a process of its own, with the stack that a thread of Linux has.
    program = f"""if True:
        import sys, threading
        sys.path[:0] = {sys.path!r}
        from gpyro.errors import RemoteProtocolError
        from gpyro.serializers import Codec
        import ormsgpack
        def nested(levels, arrays, padding):
            body = b"\\xc0"
            for _ in range(levels):
                body = b"\\x91" * arrays + ormsgpack.packb(ormsgpack.Ext(1, b"\\x91" + body + b"\\x00" * padding))
            return body
        def run():
            for levels in (1, 4, 5, 20, 64):
                for arrays in (0, 10, 60, 250, 1000, 1022):
                    for padding in (0, 2000):
                        try:
                            Codec().decode_value(nested(levels, arrays, padding), ())
                        except RemoteProtocolError:
                            refused.append(levels)
            print("survived", len(refused) > 10)
        refused = []
        threading.stack_size(8192 * 1024)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "survived True\n"), done.stderr[-2000:]


def test_honest_nesting_with_large_payloads_is_taken() -> None:
    value: Any = "inner"
    for level in range(60):
        value = ({"level": level, "text": "x" * 1500, "rows": [[n] for n in range(30)]}, value)
    assert CODEC.decode_value(*CODEC.encode_value(value)) == value
    assert CODEC.decode_value(nested(60, 5, 2000), ()) is not None
    assert "deep" in refused(nested(60, 100, 2000))


@given(
    st.recursive(
        st.none() | st.binary(max_size=40) | st.floats(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=50,
    )
)
@settings(max_examples=60, deadline=None)
@example([])
@example([[], [[[]]], {"a": {"b": []}}])
def test_nesting_is_measured_as_ormsgpack_would_build_it(value: Any) -> None:
    def depth(value: Any) -> int:
        if type(value) is list:
            return 1 + max(map(depth, value), default=0)
        if type(value) is dict:
            return 1 + max(map(depth, value.values()), default=0)
        return 0

    assert nesting_of(ormsgpack.packb(value)) == depth(value)


@pytest.mark.parametrize(
    "body",
    [
        b"\xdd\xff\xff\xff\xff\xc0", b"\xdd\xff\xff\xff\xff" * 900 + b"\xc0", b"\xdc\x00\x80" * 90,
        b"\x92\xc4\x01\xdd\xdd\xff\xff\xff\xff\xc0",
        b"\xde\xff\xff\xa1a" * 900, b"\xdf\x00\x00\x01\x00\xa1a\xc0", b"\x92\xa4\xdd\xff\xff\xff\xdc\x01\x00",
    ],
    ids=lambda body: repr(body[:8]),
)  # fmt: skip
def test_headers_that_claim_more_than_there_are_bytes_do_not_reach_an_old_ormsgpack(
    body: bytes,
) -> None:
    with pytest.raises(ValueError, match="claimed"):
        guarded_unpackb(body)


@given(st.recursive(st.none() | st.binary(max_size=40) | st.integers(0, 2**64 - 1), st.lists, max_leaves=80))
@settings(max_examples=60, deadline=None)
@example([b"\xdd\xff\xff\xff\xff" * 9, [0xDDDDDDDD] * 300, {str(n): n for n in range(70_000)}])
def test_guard_lets_honest_messages_through(value: Any) -> None:
    packed = ormsgpack.packb(value)
    assert guarded_unpackb(packed) == value
    assert guarded_unpackb(memoryview(packed), ext_hook=lambda kind, payload: None) == value


def test_counting_stops_where_it_is_too_deep_for_anybody_and_where_there_are_too_many() -> None:
    assert items_of(b"\x91" * 1_000_000 + b"\xc0", 1_000_000) == NATIVE_NESTING + 1
    assert items_of(b"\xdc\x00\x64" * 100, 250) == 300
    assert items_of(b"\xdc\x00\x64" + b"\x80" * 100, 250) == 100


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_nesting_of_garbage_is_a_number(data: bytes) -> None:
    assert 0 <= nesting_of(data) <= len(data)


def test_deep_payload_that_is_decoded_often_costs_little_in_all() -> None:
    # Each level is copied by ormsgpack; 64 levels around 1 MB is the worst.
    body = b"\xc4\x01x"
    body = ormsgpack.packb("x" * 1_000_000)
    for _ in range(64):
        body = ext(Extension.TUPLE, b"\x91" + body)
    assert CODEC.decode_value(body, ()) is not None


def test_items_are_counted_across_extensions() -> None:
    narrow = Codec(CodecLimits(max_items=1000))
    assert "limit is 1000 (max_items)" in refused(b"\xdd\x00\x0f\x42\x40" + b"\xc0" * 1_000_000, narrow)
    inner = ormsgpack.packb([None] * 300)
    assert "max_items" in refused(b"\x94" + ext(1, inner) * 4, narrow)
    assert "max_items" in refused(b"\x94" + ext(2, b"\x91" + inner) * 4, narrow)
    assert "max_items" in refused(b"\xdc\x05\x00" + b"\x80" * 0x500, narrow)
    assert "max_items" in refused(ext(1, b"\x94" + ext(5, inner) * 4), narrow)


def test_million_items_are_taken_and_one_more_is_not() -> None:
    exact = b"\xdd" + (1_000_000).to_bytes(4, "big") + b"\xc0" * 1_000_000
    assert len(CODEC.decode_value(exact, ())) == 1_000_000
    more = b"\xdd" + (1_000_001).to_bytes(4, "big") + b"\xc0" * 1_000_001
    assert "1000001 elements in a message, limit is 1000000 (max_items)" in refused(more)


def test_few_bytes_cannot_order_many_copies_of_a_part() -> None:
    body = b"\xdc\x03\xe8" + ext(Extension.OUT_BYTES, b"\x00") * 1000
    with pytest.raises(RemoteProtocolError, match="used twice"):
        CODEC.decode_value(body, [bytes(10_000)])
    body = b"\x92" + ext(Extension.NDARRAY, ormsgpack.packb(["<f8", [1250], "C", 0])) * 2
    with pytest.raises(PyroError):
        CODEC.decode_value(body, [bytes(10_000)])


# Keys that collide

PRIME = sys.hash_info.modulus


def colliding(make: Callable[[int], Any], count: int) -> list[Any]:
    keys = [make(n) for n in range(count)]
    assert len(set(map(hash, keys[:10]))) == 1
    return keys


KEYS: dict[str, Callable[[int], Any]] = {
    "int": lambda n: n * PRIME + 2**70 * PRIME,
    "uuid": lambda n: uuid.UUID(int=(n + 1) * PRIME),
    "tuple": lambda n: (n * PRIME + 2**70 * PRIME, 1),
    "fraction": lambda n: fractions.Fraction((n + 1) * PRIME, 1),
    "frozenset": lambda n: frozenset({n * PRIME + 2**70 * PRIME}),
}


@pytest.mark.parametrize("make", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize(
    "shape",
    [lambda keys: dict.fromkeys(keys), set, lambda keys: {0: frozenset(keys)}],
    ids=["dict", "set", "frozenset"],
)
def test_many_keys_of_one_hash_are_refused_before_the_container_is_built(
    make: Callable[[int], Any], shape: Callable[[list[Any]], Any]
) -> None:
    value = shape(colliding(make, 100))
    assert CODEC.decode_value(*CODEC.encode_value(value)) == value
    narrow = Codec(CodecLimits(max_colliding_keys=50))
    body, parts = CODEC.encode_value(value)
    with pytest.raises(RemoteProtocolError, match=r"same hash, limit is 50 \(max_colliding_keys\)"):
        narrow.decode_value(body, parts)
    with pytest.raises(SerializationError, match=r"same hash, limit is 50 \(max_colliding_keys\)"):
        narrow.encode_value(value)


@pytest.mark.parametrize("kind", [3, 4, 5, 30, 31, 33])
def test_million_colliding_keys_are_refused_before_the_container_is_built(kind: int) -> None:
    keys = b"".join(
        ext(Extension.INT, (n * PRIME + 2**70 * PRIME).to_bytes(18, "big")) + b"\xc0" for n in range(5000)
    )
    body = ext(kind, b"\xdd" + (10_000).to_bytes(4, "big") + keys)
    if kind in (3, 4):
        body = body.replace(b"\xc0", b"\x01")
    assert "max_colliding_keys" in refused(body)


def test_many_containers_of_colliding_keys_share_one_budget() -> None:
    keys = [uuid.UUID(int=(n + 1) * PRIME) for n in range(300)]
    one, _ = CODEC.encode_value(set(keys))
    assert len(CODEC.decode_value(b"\x99" + one * 9, ())) == 9
    with pytest.raises(RemoteProtocolError, match="max_colliding_keys"):
        CODEC.decode_value(b"\xdc\x00\x14" + one * 20, ())
    with pytest.raises(SerializationError, match="max_colliding_keys"):
        CODEC.encode_value([set(keys) for _ in range(20)])


def test_long_tuples_that_collide_weigh_more() -> None:
    tail = tuple(range(100))
    keys = [(*tail, n * PRIME + 2**70 * PRIME) for n in range(200)]
    assert comparisons(keys) == 199 * 100 * 102
    with pytest.raises(SerializationError, match="max_colliding_keys"):
        CODEC.encode_value(set(keys))


def test_honest_keys_of_every_kind_are_taken_in_any_number() -> None:
    grid = {(x, y): x * y for x in range(-60, 60) for y in range(-60, 60)}
    numbers = {n: None for n in range(-3000, 3000)} | {n / 7: None for n in range(3000)}
    ids = {uuid.UUID(int=random.Random(n).getrandbits(128)): n for n in range(3000)}
    for value in (grid, numbers, ids, set(grid), frozenset(ids), {fractions.Fraction(n, 7) for n in range(2000)}):
        assert CODEC.decode_value(*CODEC.encode_value(value)) == value


def test_what_cannot_be_a_key_is_refused() -> None:
    refused(ext(3, b"\x91\x90"))
    refused(ext(3, b"\x9a" + b"\x90" * 10))
    refused(ext(5, b"\x92\x80\x01"))
    refused(ext(5, b"\x91\x01"))


# Bad payloads


@pytest.mark.parametrize("kind", sorted(DECODERS))
def test_no_payload_of_an_extension_brings_anything_but_errors_of_gpyro(kind: int) -> None:
    for payload in (
        b"", b"\x00", b"\xc0", b"\xff", b"\x90", b"\x80", b"\x91\xc0", b"\x92\xc0\xc0", b"\x93\xc0\xc0\xc0",
        b"\x94\xc0\xc0\xc0\xc0", b"\x92\x01\x00", b"\x93\x00\x01\x00", b"\xa1x", b"x" * 100, b"\xff" * 16,
        b"\xff" * 12, b"\xff" * 4, b"\xff" * 8, b"\x00" * 4, b"\x00" * 8, b"\x00" * 12, b"../../etc/passwd",
        b"\x91" + ext(kind, b""), b"\x92" + ext(kind, b"\x90") * 2, b"\xdd\x00\x00\x00\x01\xc0",
        b"1E+99999999999999999999",
        b"\x07\xea\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00" + ext(kind, b""), b"\x92\xc3\xc3",
        b"\x92\x91\x91\xc0\x01",
        b"a\x00b", b"nonsense/zone", b"/etc/passwd", b"America", b".", b"\x91\x91" * 50,
        b"\x92\xce\xff\xff\xff\xff\x01",
    ):  # fmt: skip
        body = ext(kind, payload)
        for parts in ((), [b"part"]):
            only_gpyro_errors(CODEC.decode_value, body, parts)
            only_gpyro_errors(CODEC.decode_arguments, b"\x91" + body, parts)
            only_gpyro_errors(CODEC.decode_error, body, parts)


@pytest.mark.parametrize("kind", [-1, -128, 0, 34, 39, 43, 127])
def test_unknown_extension_is_refused_by_number(kind: int) -> None:
    body = b"\xd4" + kind.to_bytes(1, "big", signed=True) + b"\x00"
    assert f"unknown extension {kind}" in refused(body)
    assert f"unknown extension {kind}" in refused(b"\x91" + ext(1, b"\x91" + body))


def test_native_timestamp_is_no_datetime() -> None:
    assert "unknown extension -1" in refused(b"\xd6\xff\x00\x00\x00\x00")


@pytest.mark.parametrize(
    ("kind", "payload", "part"),
    [
        (Extension.ROWS, b"\x92\x91\x01\x90", ""), (Extension.ROWS, b"\x91\x01", "rows"),
        (Extension.ROWS, b"\x90", "rows"),
        (Extension.FRACTION, b"\x92\x01\x00", "ZeroDivision"), (Extension.FRACTION, b"\x92\xa11\x01", "Fraction"),
        (Extension.RANGE, b"\x93\x00\x01\x00", ""), (Extension.RANGE, b"\x93\x00\x01\xc3", "range"),
        (Extension.DATE, b"\x00\x00\x01\x01", ""), (Extension.TIMEDELTA, b"\x7f\xff\xff\xff" + b"\xff" * 8, ""),
        (Extension.UUID, b"short", ""), (Extension.DECIMAL, b"\xff", ""), (Extension.DECIMAL, b"one", ""),
        (Extension.TIMEZONE, b"\x91\x05", "timezone"), (Extension.ZONEINFO, b"../../../etc/passwd", ""),
        (Extension.DEQUE, b"\x92\x01\x00", "maxlen"), (Extension.DEQUE, b"\x91\xff", "maxlen"),
        (Extension.DEFAULT_DICT, b"\x92\xc0\xa4eval", "factory"),
        (Extension.DEFAULT_DICT, b"\x92\xc0\x91\x01", "factory"),
        (Extension.TEXT, b"\xff", ""), (Extension.COMPLEX, b"\x00", ""), (Extension.REFERENCE, b"", "reference"),
        (Extension.OUT_BYTES, b"", "index"), (Extension.OUT_BYTES, b"\x00\x00", "index"),
        (Extension.OUT_BYTES, b"\x05", "index"),
    ],
)  # fmt: skip
def test_payload_that_no_encoder_writes_is_a_protocol_error(kind: int, payload: bytes, part: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        CODEC.decode_value(ext(kind, payload), ())
    assert part in str(caught.value)


def test_unknown_time_zone_is_named() -> None:
    assert "'Moon/Crater' is not known here; install tzdata" in refused(ext(Extension.ZONEINFO, b"Moon/Crater"))


def test_arithmetic_with_a_number_that_arrived_is_the_users_own_affair() -> None:
    assert CODEC.decode_value(ext(Extension.DECIMAL, b"1E+999999"), ()) > 1


# Fuzzing


@register
class Held:
    def __init__(self, value: Any) -> None:
        self.value = value


VALID: list[bytes] = [
    CODEC.encode_value(value)[0]
    for value in (
        [(1, "a"), (2, "b")], {1: (2, {3}), "x": frozenset({(4,)})}, [uuid.UUID(int=5), fractions.Fraction(1, 3)],
        Held({"a": [1, 2.5, None, b"x", Held((True,))]}), ValueError("x", (1,)), {"k": 10**30, "r": range(5)},
        ("deep", ("deeper", ("deepest", ["list", {"m": {2: 1}}]))),
    )
]  # fmt: skip
VALID += [CODEC.encode_error(KeyError(1, (2,)), ["line"])[0], CODEC.encode_arguments((1, (2,)), {"k": {3: 4}})[0]]


def decode_all(body: bytes) -> None:
    for parts in ((), [b"part", b"other"]):
        only_gpyro_errors(CODEC.decode_value, body, parts)
        only_gpyro_errors(CODEC.decode_arguments, body, parts)
        only_gpyro_errors(CODEC.decode_error, body, parts)


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_random_bytes_bring_nothing_but_errors_of_gpyro(body: bytes) -> None:
    decode_all(body)
    decode_all(ext(1, body)) if len(body) < 200 else None


@given(st.sampled_from(sorted(DECODERS)), st.binary(max_size=100))
@settings(max_examples=200, deadline=None)
def test_random_payloads_bring_nothing_but_errors_of_gpyro(kind: int, payload: bytes) -> None:
    decode_all(ext(kind, payload))


@given(
    st.sampled_from(VALID),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 400),
)
@settings(max_examples=200, deadline=None)
def test_mutated_bodies_bring_nothing_but_errors_of_gpyro(
    body: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    mutated = bytearray(body)
    for position, byte in changes:
        mutated[position % len(mutated)] = byte
    decode_all(bytes(mutated))
    decode_all(bytes(mutated[: cut % len(mutated)]))


def test_one_codec_serves_several_threads_at_once() -> None:
    value = {1: [(n, {"a": {2: str(n)}}) for n in range(50)]}
    wrong: list[Any] = []

    def run() -> None:
        for _ in range(30):
            there = CODEC.decode_value(*CODEC.encode_value(value))
            if there != value:
                wrong.append(there)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
