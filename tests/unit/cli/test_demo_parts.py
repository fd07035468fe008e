"""The parts of `gpyro demo` that decide: what is the same, and what ends a step."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from gpyro_cli._demo import steps
from gpyro_cli._demo.processes import Children, DemoError
from gpyro_cli._demo.values import Colour, Order, Reading, every_kind, is_same

from gpyro.serializers import Codec


def test_every_value_is_the_same_as_itself_made_anew() -> None:
    first, second = every_kind(), every_kind()
    assert is_same(first, second)
    assert all(is_same(first[kind], second[kind]) for kind in first)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, True), (1, 1.0), ((1,), [1]), ({1: "a"}, {1.0: "a"}), ({1}, {1.0}), (frozenset(), set()),
        ([1, [2]], [1, [2.0]]), ({"a": (1,)}, {"a": [1]}), (b"x", bytearray(b"x")), ({"a": 1}, {"b": 1}),
        ([1], [1, 2]), (ValueError(1), ValueError(2)), (Reading("a", 1.0), ("a", 1.0)), (Colour.RED, 1),
        (0.0, -0.0),
    ],
)  # fmt: skip
def test_values_of_other_type_or_content_are_not_the_same(left: Any, right: Any) -> None:
    assert not is_same(left, right)
    assert not is_same(right, left)


def test_dataclass_is_compared_by_its_fields() -> None:
    order = every_kind()["dataclass"]
    assert not is_same(order, Order(order.article, order.amount, order.price, {"steel"}))


def test_step_fails_when_a_value_comes_back_otherwise() -> None:
    class Workshop:
        def echo(self, value: Any) -> Any:
            return list(value) if isinstance(value, tuple) else value

    with pytest.raises(DemoError, match="tuple: sent"):
        steps.compare_values(Workshop(), print, print)


def test_step_fails_when_the_file_comes_back_changed(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    class Workshop:
        def keep(self, name: str, content: bytes) -> str:
            return hashlib.sha256(content).hexdigest()

        def fetch(self, name: str) -> bytes:
            return b"else"

    monkeypatch.setattr(steps, "FILE_BYTES", 10_000)
    with pytest.raises(DemoError, match="came back changed"):
        steps.send_file(Workshop(), tmp_path, print)


def test_every_kind_travels_through_the_codec() -> None:
    codec = Codec()
    for kind, value in every_kind().items():
        if kind == "address":
            continue  # an address is a reference, which only a connection resolves
        body, buffers = codec.encode_value(value)
        assert is_same(codec.decode_value(body, buffers), value), kind


def silent(line: str) -> None:
    pass


def test_process_that_does_not_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    with Children(tmp_path, silent) as children:
        child = children.start("odd server", ["no_such_module"])
        with pytest.raises(DemoError, match=r"the odd server did not say .*no_such_module"):
            child.read_until("ready")
        with pytest.raises(DemoError, match="the odd server ended with status 1"):
            child.stop()
        assert repr(child) == f"<Child odd server, pid {child.pid}, status 1>"


def test_processes_are_ended_whatever_happens(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Children(tmp_path, silent) as children:
        child = children.start("lasting server", ["http.server", "0", "--bind", "127.0.0.1"])
        raise ZeroDivisionError
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_signal_while_a_process_is_started_comes_when_it_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpyro_cli._demo import processes

    real = processes.Child

    def interrupted(*args: Any) -> Any:
        child = real(*args)
        signal.raise_signal(signal.SIGINT)
        return child

    monkeypatch.setattr(processes, "Child", interrupted)
    with pytest.raises(KeyboardInterrupt), Children(tmp_path, silent) as children:
        children.start("lasting server", ["http.server", "0", "--bind", "127.0.0.1"])
    assert "status -15" in repr(children)
