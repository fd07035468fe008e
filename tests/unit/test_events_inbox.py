"""A subscriber's inbox by itself: what it handles, in which order, and what it tells."""

from __future__ import annotations

from typing import Any

import gevent
from gevent.event import Event as Gate

from gpyro import hub
from gpyro._events.crew import Crew
from gpyro._events.event import Event, pack_message
from gpyro._events.inbox import Inbox
from tests.support.servers import eventually


class Handler:
    """Notes what it is given; fails at some, waits with others."""

    def __init__(self, is_queue: bool = False, limit: int = 1) -> None:
        self.got: list[int] = []
        self.lost: list[int | None] = []
        self.failing: set[int] = set()
        self.gates: dict[int, Gate] = {}
        self.noted = 0
        self.inbox = Inbox(self.handle, self.lost.append, self.note, self.note, is_queue)
        self.crew = Crew(hub.current_state())
        self.inbox.begin(self.crew, limit)

    def handle(self, event: Event) -> None:
        if event.sequence in self.gates:
            self.gates[event.sequence].wait()
        self.got.append(event.sequence)
        if event.sequence in self.failing:
            self.failing.discard(event.sequence)
            raise ValueError(event.sequence)

    def note(self, *ignored: object) -> None:
        self.noted += 1

    def take(self, entries: list[Any]) -> None:
        self.inbox.take(entries)
        gevent.sleep(0)
        gevent.sleep(0)


def row(sequence: int, lane: int = 1, deliveries: int = 1, heard: int = 0) -> list[Any]:
    return [sequence, "a", 0.0, pack_message(sequence), deliveries, lane, heard]


def test_entries_are_handled_in_order_and_counted() -> None:
    handler = Handler()
    handler.take([row(1), row(2), -3, None, row(3)])
    assert handler.got == [1, 2, 3] and handler.lost == [3, None]
    assert handler.inbox.collect() == [5]
    assert handler.inbox.received == 5 and handler.inbox.last == 3


def test_what_is_done_is_told_up_to_the_first_that_is_not() -> None:
    handler = Handler(limit=3)
    handler.gates = {1: Gate()}
    handler.take([row(1), row(2), row(3)])
    assert handler.got == [2, 3]
    assert handler.inbox.collect() == [0]
    handler.gates[1].set()
    eventually(lambda: handler.got == [2, 3, 1])
    assert handler.inbox.collect() == [3]


def test_new_box_begins_to_count_anew_behind_what_is_pending_of_the_old_one() -> None:
    handler = Handler()
    handler.inbox.end()
    handler.take([row(1), row(2)])
    handler.inbox.change_box(2, True)
    assert handler.inbox.received == 0
    handler.inbox.begin(handler.crew, 1)
    handler.take([row(3)])
    assert handler.got == [1, 2, 3]
    assert handler.inbox.received == 1
    assert handler.inbox.collect() == [1]


def test_event_that_was_on_its_way_when_one_before_it_failed_is_left_for_its_turn() -> None:
    handler = Handler(is_queue=True)
    handler.failing = {1}
    handler.take([row(1), row(2), row(9, lane=2)])
    assert handler.got == [1, 9]
    assert handler.inbox.collect() == [[9], [[1, 1]], 1]
    # Sent before the server knew.
    handler.take([row(3)])
    assert handler.got == [1, 9]
    handler.take([row(number, deliveries=2, heard=1) for number in (1, 2, 3)])
    assert handler.got == [1, 9, 1, 2, 3]
    assert handler.inbox.collect() == [[1, 2, 3], [], 1]


def test_lane_that_another_has_mended_goes_on_with_what_was_sent_after_the_server_knew() -> None:
    handler = Handler(is_queue=True)
    handler.failing = {1}
    handler.take([row(1)])
    assert handler.inbox.collect() == [[], [[1, 1]], 1]
    handler.take([row(5, heard=1)])
    assert handler.got == [1, 5]


def test_failures_that_the_server_knows_are_forgotten() -> None:
    handler = Handler(is_queue=True)
    handler.failing = {1, 2, 3}
    handler.take([row(number, lane=number) for number in (1, 2, 3)])
    handler.take([row(9, lane=9, heard=2)])
    assert list(handler.inbox._failed) == [3]


def test_failure_that_was_not_told_is_told_again() -> None:
    handler = Handler(is_queue=True)
    handler.failing = {1}
    handler.take([row(1)])
    told = handler.inbox.collect()
    handler.inbox.restore(told)
    handler.take([row(2)])
    assert handler.got == [1]
    assert handler.inbox.collect() == told
    handler.take([row(1, deliveries=2, heard=1), row(2, deliveries=2, heard=1)])
    assert handler.got == [1, 1, 2]


def test_link_that_comes_back_gets_all_again_and_leaves_none_of_it() -> None:
    handler = Handler(is_queue=True)
    handler.failing = {1}
    handler.take([row(1)])
    handler.inbox.collect()
    # The connection broke, so the server never heard of it.
    handler.inbox.begin_anew()
    handler.take([row(1, deliveries=2), row(2, deliveries=2)])
    assert handler.got == [1, 1, 2]
    assert handler.inbox.collect() == [[1, 2], [], 1]


def test_event_that_goes_out_again_while_it_is_handled_is_not_handled_twice() -> None:
    handler = Handler(is_queue=True)
    handler.gates = {1: Gate()}
    handler.take([row(1)])
    handler.take([row(1, deliveries=2)])
    handler.gates[1].set()
    eventually(lambda: handler.got == [1])
    assert handler.inbox.collect() == [[1], [], 0]
    assert repr(handler.inbox) == "<Inbox running, 0 pending, 0 running, 1 handled>"
    assert repr(handler.crew) == "<Crew, 0 inboxes are ready>"


def test_lane_that_failed_in_one_box_refuses_nothing_in_the_next_one() -> None:
    handler = Handler(is_queue=True)
    handler.failing = {1}
    handler.take([row(1, lane=1)])
    handler.inbox.change_box(1, True)
    handler.take([row(7, lane=1)])
    assert handler.got == [1, 7], "lane 1 is another one's now"


def test_event_of_another_log_is_handled_though_an_old_one_of_its_number_is_under_way() -> None:
    handler = Handler(is_queue=True, limit=3)
    handler.gates = {1: Gate()}
    handler.take([row(1)])
    handler.inbox.change_box(0, False)
    gate = handler.gates.pop(1)
    handler.take([row(1)])
    assert handler.got == [1], "this is the new one"
    assert handler.inbox.collect() == [[1], [], 0]
    gate.set()
    eventually(lambda: handler.got == [1, 1])
    assert handler.inbox.collect() == [[], [], 0], "the old one is no event of this log"


def test_handler_of_an_old_box_keeps_its_lane_under_the_new_number_until_it_is_done() -> None:
    handler = Handler(is_queue=True, limit=3)
    handler.gates = {1: Gate()}
    handler.take([row(1, lane=1), row(2, lane=1)])
    handler.inbox.change_box(1, True)
    handler.take([row(1, lane=9, deliveries=2), row(2, lane=9, deliveries=2), row(5, lane=1)])
    assert handler.got == [5], "lane 1 is another one's now"
    handler.gates[1].set()
    eventually(lambda: handler.got == [5, 1, 2])
    assert handler.inbox.collect() == [[5, 1, 2], [], 0]


def test_handler_of_an_old_box_that_fails_sets_back_its_lane_under_the_new_number() -> None:
    handler = Handler(is_queue=True, limit=3)
    handler.gates, handler.failing = {1: Gate()}, {1}
    handler.take([row(1, lane=1)])
    handler.inbox.change_box(1, True)
    handler.take([row(1, lane=9, deliveries=2), row(2, lane=9, deliveries=2), row(5, lane=1)])
    handler.gates.pop(1).set()
    eventually(lambda: handler.got == [5, 1])
    assert handler.inbox.collect() == [[5], [[1, 9]], 1]
    handler.take([row(1, lane=9, deliveries=3, heard=1), row(2, lane=9, deliveries=3, heard=1)])
    assert handler.got == [5, 1, 1, 2]


def test_server_that_begins_anew_twice_leaves_no_handler_that_speaks_for_another_event() -> None:
    handler = Handler(is_queue=True, limit=3)
    handler.gates = {1: Gate()}
    handler.take([row(1)])
    handler.inbox.change_box(1, True)
    handler.inbox.change_box(0, False)
    handler.gates.pop(1).set()
    eventually(lambda: handler.got == [1])
    assert handler.inbox.collect() == [[], [], 0]


def test_what_was_done_and_not_told_is_told_to_the_next_box_of_the_same_log_alone() -> None:
    handler = Handler(is_queue=True)
    handler.take([row(1)])
    handler.inbox.change_box(1, True)
    assert handler.inbox.collect() == [[1], [], 0]
    handler.take([row(2)])
    handler.inbox.change_box(0, False)
    assert handler.inbox.collect() == [[], [], 0]


def test_what_stands_behind_a_running_handler_goes_when_listening_ends_and_the_handler_keeps_its_own() -> None:
    handler = Handler(is_queue=True)
    handler.gates = {1: Gate()}
    handler.take([row(1), row(2)])
    handler.inbox.end()
    handler.inbox.begin(handler.crew, 2)
    handler.take([row(1, deliveries=2)])
    handler.gates[1].set()
    eventually(lambda: handler.inbox.running == 0)
    assert handler.got == [1], "2 went to others, and 1 is not begun twice at a time"
    assert handler.inbox.collect() == [[1], [], 0]
