"""Files of keys and passphrases: what is read from odd ones, and that no message shows a secret."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from gpyro.auth import Key, format_key, format_verifier, load_identification, load_key, load_verifiers
from gpyro.errors import ConfigurationError

KEY = Key("press-4", bytes(range(32)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.touch(0o600)
    return path


@pytest.mark.parametrize(
    ("text", "passphrase"),
    [
        ("correct horse\n", "correct horse"), ("correct horse", "correct horse"),
        ("correct horse\r\n", "correct horse"),
        ("# of the press\n\n  \ncorrect horse\n", "correct horse"), (" spaces count \n", " spaces count "),
        ("#hunter2\n", "#hunter2"),
        ("vertical\x0btab", "vertical\x0btab"), ("line\u2028separator\n", "line\u2028separator"),
    ],
)  # fmt: skip
def test_passphrase_is_the_only_line_that_is_no_comment(path: Path, text: str, passphrase: str) -> None:
    path.write_bytes(text.encode())
    assert load_identification(path) == passphrase


@pytest.mark.parametrize("text", ["", "\n\n", "   \n"])
def test_empty_file_is_no_passphrase(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="is empty"):
        load_identification(path)


def test_file_of_comments_alone_holds_no_passphrase(path: Path) -> None:
    path.write_text("# of the press\n#hunter2\n")
    with pytest.raises(ConfigurationError, match="holds only comments") as caught:
        load_identification(path)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("load", [load_key, load_verifiers, load_identification])
@pytest.mark.parametrize("order", [(0, 2, 1), (0, 2), (0, 2, 2, 1)])
def test_no_message_shows_a_secret_that_stands_in_the_wrong_place(
    path: Path, load: object, order: tuple[int, ...]
) -> None:
    words = format_key(KEY).split()
    path.write_text(" ".join(words[index] for index in order))
    with pytest.raises(ConfigurationError) as caught:
        load(path)  # type: ignore[operator]
    assert words[2] not in "".join(traceback.format_exception(caught.value))


def test_role_that_cannot_be_one_is_refused_with_its_line(path: Path) -> None:
    path.write_text("# accounts\n" + format_verifier(KEY.verifier(["no role"])))
    with pytest.raises(ConfigurationError, match="line 2 of"):
        load_verifiers(path)
