"""The golden frames: bytes written down once, with what they mean, read and built by this version.

`frames/NNN-name.hex` holds the bytes with comments, the JSON file of the same name what comes out. A file under
`frames/invalid` names the error instead. None of them may change while PREFACE stays the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gpyro.errors import ProtocolError, RemoteProtocolError
from gpyro.wire.hello import Greeting, build_denial, parse_denial
from gpyro.wire.native import (
    PREFACE,
    FrameType,
    Machine,
    Side,
    State,
    build_chunks,
    build_extras,
    build_frame,
    build_target,
    parse_annotations,
    parse_extras,
    parse_target,
)
from tests.support.wire_pair import (
    NO_LOGIN,
    PlainFrame,
    cut_evenly,
    drain,
    feed,
    machine_in,
    needs_preface,
    plain,
)

FRAMES = Path(__file__).parent / "frames"
GOOD = sorted(path.stem for path in FRAMES.glob("*.hex"))
INVALID = sorted(path.stem for path in FRAMES.glob("invalid/*.hex"))


def read_hex(path: Path) -> bytes:
    """Read hex digits; what follows a # on a line is a comment."""
    return bytes.fromhex("".join(line.partition("#")[0] for line in path.read_text().splitlines()))


def read_case(name: str, folder: Path = FRAMES) -> tuple[bytes, dict[str, Any]]:
    return read_hex(folder / f"{name}.hex"), json.loads((folder / f"{name}.json").read_text())


def expected_frame(values: Mapping[str, Any]) -> PlainFrame:
    parts = [bytes.fromhex(values.get(part, "")) for part in ("target", "body", "extras")]
    return FrameType[values["type"]], values["flags"], values["request_id"], parts[0], parts[1], parts[2]


def receiver_of(case: Mapping[str, Any]) -> Machine:
    return machine_in(Side(case["receiver"]), State(case["state"]))


def answers_for(case: Mapping[str, Any]) -> Mapping[int, int]:
    return NO_LOGIN if "before_welcome" in case else {}


@pytest.mark.parametrize("name", GOOD)
def test_golden_bytes_come_out_as_the_expected_frames(name: str) -> None:
    data, case = read_case(name)
    machine = receiver_of(case)
    assert list(feed(machine, [data], answers_for(case))) == [expected_frame(one) for one in case["frames"]]
    assert machine.state is State(case["state_after"])
    assert not machine.is_mid_frame()
    assert not machine.has_frames()


@pytest.mark.parametrize("name", GOOD)
def test_golden_bytes_come_out_the_same_in_every_split_of_two_and_byte_by_byte(name: str) -> None:
    data, case = read_case(name)
    expected = [expected_frame(one) for one in case["frames"]]
    assert list(feed(receiver_of(case), cut_evenly(data, 1), answers_for(case))) == expected
    for cut in range(len(data) + 1):
        assert list(feed(receiver_of(case), (data[:cut], data[cut:]), answers_for(case))) == expected, cut


# The order of interleaved pieces is the sender's choice.
@pytest.mark.parametrize("name", [name for name in GOOD if not name.endswith("interleaved")])
def test_golden_bytes_are_what_this_version_builds(name: str) -> None:
    data, case = read_case(name)
    opening = PREFACE if needs_preface(receiver_of(case)) else b""
    assert data.startswith(opening)
    built = opening
    for values in case["frames"]:
        segments = build_frame(*expected_frame(values)[:5], build_extras_of(values))
        if "chunk_bytes" in case:
            for chunk in build_chunks(segments, values["request_id"], case["chunk_bytes"]):
                built += b"".join(chunk)
        else:
            built += b"".join(segments)
    assert built == data


def build_extras_of(values: Mapping[str, Any]) -> list[bytes]:
    notes = {int(key): bytes.fromhex(data) for key, data in values.get("annotations", {}).items()}
    buffers = [bytes.fromhex(data) for data in values.get("buffers", [])]
    return [bytes(part) for part in build_extras(notes, buffers)]


def values_with(key: str) -> Iterator[dict[str, Any]]:
    for name in GOOD:
        for values in read_case(name)[1]["frames"]:
            if key in values:
                yield values


def test_golden_targets_parse_and_build() -> None:
    for values in values_with("parsed_target"):
        scope, access, object_id, method = values["parsed_target"]
        packed = bytes.fromhex(values["target"])
        assert parse_target(packed) == (scope, access, object_id, method)
        assert build_target(object_id, method, scope, access) == packed


def test_golden_extras_parse_to_annotations_and_buffers() -> None:
    for values in values_with("annotations"):
        extras = bytes.fromhex(values["extras"])
        notes, buffers = parse_extras(extras)
        assert {str(key): data.hex() for key, data in notes.items()} == values["annotations"]
        assert [bytes(part).hex() for part in buffers] == values["buffers"]
        assert parse_annotations(extras) == notes
        assert parse_annotations(memoryview(extras)) == notes


def test_golden_greetings_parse_and_build() -> None:
    for values in values_with("greeting"):
        body, fields = bytes.fromhex(values["body"]), dict(values["greeting"])
        fields["instance"] = bytes.fromhex(fields["instance"])
        fields["fields"] = {int(tag): bytes.fromhex(data) for tag, data in fields["fields"].items()}
        assert Greeting.parse(body) == Greeting(**fields)
        assert Greeting(**fields).build() == body


def test_golden_denials_parse_and_build() -> None:
    for values in values_with("denial"):
        body = bytes.fromhex(values.get("body", ""))
        assert list(parse_denial(body)) == values["denial"]
        assert not body or build_denial(*values["denial"]) == body


def test_golden_frames_cover_every_type_that_is_in_use() -> None:
    seen = {values["type"] for name in GOOD for values in read_case(name)[1]["frames"]}
    # A chunk never comes out itself; the streams are set aside.
    unseen = {"CHUNK", "STREAM_ITEM", "STREAM_END", "STREAM_CREDIT"}
    assert seen == {kind.name for kind in FrameType} - unseen
    assert any("chunk_bytes" in read_case(name)[1] for name in GOOD)


def parse_part(stage: str, frame: PlainFrame) -> object:
    _, _, _, target, body, extras = frame
    if stage == "target":
        return parse_target(target)
    if stage == "extras":
        return parse_extras(extras)
    return Greeting.parse(body) if stage == "greeting" else parse_denial(body)


@pytest.mark.parametrize("name", INVALID)
def test_invalid_bytes_raise_the_error_that_their_file_names(name: str) -> None:
    data, case = read_case(name, FRAMES / "invalid")
    machine = receiver_of(case)
    machine.receive_data(data)
    if case["stage"] == "frame":
        with pytest.raises(RemoteProtocolError) as caught:
            while machine.next_frames():
                pass
        assert machine.state is State.FAILED
    else:
        [frame] = drain(machine, answers={})
        with pytest.raises(RemoteProtocolError) as caught:
            parse_part(case["stage"], frame)
    assert str(caught.value) == case["error"]


@pytest.mark.parametrize("name", INVALID)
def test_invalid_bytes_are_treated_with_the_same_words_byte_by_byte(name: str) -> None:
    data, case = read_case(name, FRAMES / "invalid")
    machine = receiver_of(case)
    if case["stage"] != "frame":  # the frame itself is whole
        assert len(list(feed(machine, cut_evenly(data, 1), answers={}))) == 1
        return
    with pytest.raises(ProtocolError) as caught:
        list(feed(machine, cut_evenly(data, 1), answers={}))
    if "preface" in name:
        # Refused at the first byte that differs, so that fewer bytes are quoted.
        assert str(caught.value).startswith("the connection opens with ")
    else:
        assert str(caught.value) == case["error"]


def test_every_golden_file_has_its_pair_and_a_comment_that_says_what_it_is() -> None:
    for path in [*FRAMES.glob("*.hex"), *FRAMES.glob("invalid/*.hex")]:
        assert path.read_text().startswith("# ")
        assert path.with_suffix(".json").exists()
    assert len(list(FRAMES.glob("**/*.json"))) == len(GOOD) + len(INVALID)


def test_plain_copies_every_part_of_a_frame() -> None:
    owner = bytearray(b"bodyextras")
    view = memoryview(owner)
    copy = plain((17, 0, 1, b"", view[:4], view[4:], owner))
    owner[:] = bytes(10)
    assert copy == (17, 0, 1, b"", b"body", b"extras")
