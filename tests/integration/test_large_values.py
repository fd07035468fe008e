"""Large bytes, bytearrays, views and arrays arrive as they are, as they were when they left."""

from __future__ import annotations

import sys
import threading
from typing import Any

import gevent
import pytest

import gpyro
from tests.support.servers import SECONDS, Bench, connection_of, eventually, running_daemon

numpy = pytest.importorskip("numpy")
MIB = 1024 * 1024
#: What socket buffers of this machine do not take at once.
MORE_THAN_BUFFERS = 30 * MIB


def grow(mine: bytearray) -> None:
    """Make it longer, which nobody may who looks into it; the watchdog looks at frames for a moment."""

    def has_grown() -> bool:
        try:
            mine.extend(b"and more")
        except BufferError:
            return False
        return True

    eventually(has_grown, "somebody still looks into it")


class Keeper(Bench):
    """Keeps what it is given, and gives out what it goes on to change."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Any] = []
        self.mine = bytearray(b"a" * MORE_THAN_BUFFERS)

    def keep(self, value: Any) -> None:
        self.kept.append(value)

    def give_and_change(self) -> bytearray:
        gevent.spawn(self._change)
        return self.mine

    def _change(self) -> None:
        self.mine[:] = b"b" * MORE_THAN_BUFFERS
        self.mine.extend(b"and more")

    def fill(self, array: Any) -> Any:
        array[:] = 7
        return array


SIZES = [5000, 70_000, 1_000_000, 4 * MIB, 9 * MIB]


@pytest.mark.parametrize("size", SIZES)
def test_each_kind_arrives_as_itself_and_what_may_be_changed_can_be_there(size: int) -> None:
    pattern = (bytes(range(251)) * (size // 251 + 1))[:size]
    with running_daemon() as server:
        keeper = Keeper()
        proxy = server.proxy(keeper)
        read_only = numpy.frombuffer(pattern, numpy.uint8)
        for value in (pattern, bytearray(pattern), memoryview(pattern), memoryview(bytearray(pattern)), read_only):
            got = proxy.echo(value)
            assert type(got) is type(value) and bytes(got) == pattern
            if isinstance(got, memoryview):
                assert got.readonly and hash(got)
            if isinstance(got, bytearray):
                got[0] = 255
                got.append(1)
        assert len(proxy.echo([pattern, bytearray(pattern)])[0]) == size
        grid = numpy.arange(size // 40 * 5, dtype=numpy.float64).reshape(-1, 5)
        for array in (grid, numpy.asfortranarray(grid), grid[::2], grid.astype(">f4")):
            got = proxy.echo(array)
            assert got.dtype == array.dtype and (got == array).all() and got.flags.writeable
        assert (proxy.fill(grid) == 7).all() and grid[0, 1] == 1.0


def test_several_parts_of_one_call_come_into_objects_of_their_own() -> None:
    with running_daemon() as server:
        keeper = Keeper()
        proxy = server.proxy(keeper)
        one = bytearray(b"1" * MIB)
        proxy.keep([one, one, {"deep": (b"2" * MIB, numpy.ones(MIB))}])
        ((first, second, rest),) = keeper.kept
        assert bytes(first) == bytes(second) == bytes(one) and first is not second
        assert rest["deep"][0] == b"2" * MIB and (rest["deep"][1] == 1.0).all()


def test_result_that_its_server_changes_afterwards_arrives_as_it_was_returned() -> None:
    with running_daemon() as server:
        keeper = Keeper()
        proxy = server.proxy(keeper)
        got = proxy.give_and_change()
        eventually(lambda: len(keeper.mine) > MORE_THAN_BUFFERS, "the server could not change what it had given")
        assert got == b"a" * MORE_THAN_BUFFERS


def test_argument_of_a_call_that_was_given_up_may_be_changed_and_leaves_as_it_was() -> None:
    with running_daemon() as server:
        keeper = Keeper()
        proxy = server.proxy(keeper)
        proxy.echo()
        mine = bytearray(b"a" * MORE_THAN_BUFFERS)
        call = gevent.spawn(proxy.keep, mine)
        connection = connection_of(proxy)
        eventually(lambda: connection.calls.pending)
        assert not connection.stream.is_flushed()
        call.kill()
        mine[:] = b"b" * MORE_THAN_BUFFERS
        grow(mine)
        eventually(connection.stream.is_flushed)
        assert proxy.echo("goes on") == "goes on"
        # It is cancelled behind its last chunk, before or after it was begun.
        assert all(kept == b"a" * MORE_THAN_BUFFERS for kept in keeper.kept)


def test_argument_of_a_oneway_call_leaves_as_it_was_when_the_call_returned() -> None:
    with running_daemon() as server:
        keeper = Keeper()
        proxy = server.proxy(keeper)
        proxy._setOneway("keep")
        mine = bytearray(b"a" * MORE_THAN_BUFFERS)
        proxy.keep(mine)
        mine[:] = b"b" * MORE_THAN_BUFFERS
        grow(mine)
        eventually(lambda: keeper.kept)
        assert keeper.kept == [b"a" * MORE_THAN_BUFFERS]


def test_error_of_a_call_does_not_hold_the_argument() -> None:
    with running_daemon() as server:
        proxy = server.proxy(Keeper())
        mine = bytearray(b"a" * MIB)
        with pytest.raises(AttributeError) as caught:
            proxy.nothing(mine)
        assert caught.value.__traceback__ is not None
        grow(mine)


def test_array_that_a_thread_changes_meanwhile_costs_a_sealed_connection_nothing() -> None:
    array = numpy.zeros(3_000_000, numpy.uint8)
    is_over = threading.Event()

    def change() -> None:
        while not is_over.is_set():
            for number in range(256):
                array[:] = number

    class Camera(gpyro.ObjBase):
        def look(self) -> Any:
            return array

        def take(self, value: Any) -> int:
            return len(value)

    with running_daemon() as server:
        server.daemon.setAllowedIdentifications(["one"])
        proxy = server.proxy(Camera())
        proxy._setIdentification("one")
        thread = threading.Thread(target=change)
        thread.start()
        try:
            for _ in range(20):
                assert len(proxy.look()) == proxy.take(array) == len(array)
        finally:
            is_over.set()
            thread.join()
        assert len(server.connections) == 1


def test_received_bytearray_can_grow_although_somebody_looks_at_all_frames() -> None:
    """As profilers and the watchdog do: what they find in a frame lives on for a while."""
    is_over = threading.Event()

    def look() -> None:
        kept = []
        while not is_over.is_set():
            kept.append(sys._current_frames())
            del kept[:-50]

    class Grower(gpyro.ObjBase):
        def grow(self, value: bytearray) -> int:
            value.append(1)
            return len(value)

    with running_daemon() as server:
        proxy = server.proxy(Grower())
        thread = threading.Thread(target=look)
        thread.start()
        try:
            for _ in range(200):
                assert proxy.grow(bytearray(3_000_000)) == 3_000_001
        finally:
            is_over.set()
            thread.join()


def test_part_that_breaks_off_is_let_go_of_when_its_sender_closes() -> None:
    with running_daemon() as server:
        proxy = server.proxy(Keeper())
        proxy.echo()
        mine = connection_of(proxy)
        (theirs,) = server.connections
        call = gevent.spawn(proxy.give_and_change)
        eventually(mine.machine.is_mid_frame)
        theirs.close()
        with pytest.raises(gpyro.errors.ConnectionClosedError):
            call.get(timeout=SECONDS)
        assert not mine.machine.is_mid_frame() and mine.machine._arrival is None
        call.exception.__traceback__ = None


def test_connection_that_is_lost_in_the_middle_of_a_part_is_told_and_frees_it() -> None:
    with running_daemon() as server:
        keeper = Keeper()
        proxy = server.proxy(keeper)
        proxy.echo()
        mine = bytearray(MORE_THAN_BUFFERS)
        call = gevent.spawn(proxy.keep, mine)
        (theirs,) = server.connections
        eventually(theirs.machine.is_mid_frame)
        theirs.close()
        with pytest.raises(gpyro.errors.ConnectionClosedError):
            call.get(timeout=SECONDS)
        assert not theirs.machine.is_mid_frame()
        assert keeper.kept == []
        call.exception.__traceback__ = None
        eventually(lambda: sys.getrefcount(mine) == 2)
        grow(mine)
