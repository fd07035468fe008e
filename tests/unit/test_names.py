"""Rules of names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpyro.errors import NamingError
from gpyro.names import (
    MAX_DEPTH,
    MAX_NAME_LENGTH,
    check_full_group,
    check_full_name,
    expand_name,
    naming_error,
    split_name,
    validate_group,
    validate_name,
)

FORM = "names look like ':Group.sub.object'"
CHARACTERS = "a part has printable characters without blanks and none of . : / \\"

GOOD_NAMES = [
    "our_object",
    "a.b.c",
    ":x",
    ":Default.our_object",
    ":Pyro.test.echoserver",
    ":Group.with-dash.and_underscore.0",
    ":Güter.Schraube",
    ":数.値",
    ":odd.!\"#$%&'()*+,;<=>?@[]^`{|}~",
    ":" + ".".join("x" * MAX_DEPTH),
    ":" + "n" * (MAX_NAME_LENGTH - 1),
]

BAD_NAMES = [
    ("", f"invalid name: '' is empty; {FORM}"),
    (":", f"invalid name: ':' is the root group; {FORM}"),
    (":Grp..x", f"invalid name: ':Grp..x' has an empty part at position 5; {FORM}"),
    ("a..b", f"invalid name: 'a..b' has an empty part at position 2; {FORM}"),
    (":.a", f"invalid name: ':.a' has an empty part at position 1; {FORM}"),
    (".a", f"invalid name: '.a' has an empty part at position 0; {FORM}"),
    ("a.", f"invalid name: 'a.' has an empty part at position 2; {FORM}"),
    ("sp ace", f"invalid character(s) in name: 'sp ace' has ' ' at position 2; {CHARACTERS}"),
    ("::a", f"invalid character(s) in name: '::a' has ':' at position 1; {CHARACTERS}"),
    ("a:b", f"invalid character(s) in name: 'a:b' has ':' at position 1; {CHARACTERS}"),
    (":a.b/c", f"invalid character(s) in name: ':a.b/c' has '/' at position 4; {CHARACTERS}"),
    (":a\\b", f"invalid character(s) in name: ':a\\\\b' has '\\\\' at position 2; {CHARACTERS}"),
    ("a\n", f"invalid character(s) in name: 'a\\n' has '\\n' at position 1; {CHARACTERS}"),
    ("a\0", f"invalid character(s) in name: 'a\\x00' has '\\x00' at position 1; {CHARACTERS}"),
    ("a\u00a0b", f"invalid character(s) in name: 'a\\xa0b' has '\\xa0' at position 1; {CHARACTERS}"),
    ("a\u200b", f"invalid character(s) in name: 'a\\u200b' has '\\u200b' at position 1; {CHARACTERS}"),
    ("a\u202eb", f"invalid character(s) in name: 'a\\u202eb' has '\\u202e' at position 1; {CHARACTERS}"),
    ("a\ud800", f"invalid character(s) in name: 'a\\ud800' has '\\ud800' at position 1; {CHARACTERS}"),
    ("a" * 256, f"invalid name: '{'a' * 40}...' has 256 characters, the limit is 255"),
    (".".join("x" * 33), f"invalid name: '{'.'.join('x' * 33)}' has 33 parts, the limit is 32"),
    (5, f"invalid name: 5 is of type int, but a name is text; {FORM}"),
]


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_good_name_is_returned_as_it_is(name: str) -> None:
    assert validate_name(name) is name
    assert validate_group(name) is name


@pytest.mark.parametrize(("name", "message"), BAD_NAMES)
def test_bad_name_raises_naming_error_that_says_where_and_why(name: str, message: str) -> None:
    with pytest.raises(NamingError) as caught:
        validate_name(name)
    assert str(caught.value) == message
    assert caught.value.args == (message,)


@pytest.mark.parametrize(("name", "message"), BAD_NAMES)
def test_bad_group_raises_the_same_under_its_own_reason(name: str, message: str) -> None:
    with pytest.raises(NamingError) as caught:
        validate_group(name)
    assert str(caught.value) == message.replace("invalid name", "invalid groupname")


def test_naming_error_carries_reason_and_full_name_for_programs() -> None:
    error = naming_error("name not found", ":Default.x")
    assert str(error) == "name not found: ':Default.x'"
    assert vars(error) == {"reason": "name not found", "name": ":Default.x"}


@given(st.text(max_size=40))
def test_any_text_is_either_a_name_that_stays_as_it_is_or_a_naming_error(text: str) -> None:
    try:
        assert validate_name(text) == text
    except NamingError as error:
        assert error.__dict__["name"] == text
    else:
        assert not any(character.isspace() for character in text)
        assert ":" not in text[1:]
        assert all(text.removeprefix(":").split("."))
        assert "/" not in text


# -- expanding and splitting


@pytest.mark.parametrize(
    ("name", "default_group", "full_name"),
    [
        ("x", ":Default", ":Default.x"),
        ("x.y", ":Default", ":Default.x.y"),
        (":x", ":Default", ":x"),
        (":x.y", ":Default", ":x.y"),
        ("", ":Default", ":Default"),
        (":", ":Default", ":"),
        ("x", ":", ":x"),
        ("", ":", ":"),
        ("x", ":My.own", ":My.own.x"),
    ],
)
def test_expand_name(name: str, default_group: str, full_name: str) -> None:
    assert expand_name(name, default_group) == full_name


def test_expand_name_uses_pyros_default_group() -> None:
    assert expand_name("our_object") == ":Default.our_object"


def test_expand_name_refuses_a_default_group_that_is_relative() -> None:
    with pytest.raises(NamingError, match=r"^default group name is not absolute: 'Default'"):
        expand_name("x", "Default")


def test_expand_name_checks_name_group_and_the_length_of_both() -> None:
    for name, group in (("a b", ":Default"), ("x", ":a..b"), ("", ":a..b"), ("x" * 250, ":Default")):
        with pytest.raises(NamingError):
            expand_name(name, group)


@pytest.mark.parametrize(
    ("full_name", "parts"),
    [(":x", (":", "x")), (":a.b", (":a", "b")), (":a.b.c", (":a.b", "c"))],
)
def test_split_name(full_name: str, parts: tuple[str, str]) -> None:
    assert split_name(full_name) == parts


def test_full_name_must_begin_with_a_colon() -> None:
    assert check_full_name(":a.b") == ":a.b"
    assert check_full_group(":a.b") == ":a.b"
    assert check_full_group(":") == ":"
    with pytest.raises(NamingError, match=r"^invalid name: 'a.b' does not begin with a colon"):
        check_full_name("a.b")
    with pytest.raises(NamingError, match=r"^invalid groupname: 'a' does not begin with a colon"):
        check_full_group("a")
    with pytest.raises(NamingError, match=r"^invalid name: ':' is the root group"):
        check_full_name(":")


# -- the tree
