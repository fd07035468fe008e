"""Bells for native threads and tickets for everybody else."""

from __future__ import annotations

import threading

import gevent

from gpyro import hub

SECONDS = 20.0


def test_bell_that_is_rung_several_times_calls_once() -> None:
    bell = hub.Bell()
    for _ in range(3):
        bell.ring()
    assert bell.wait(SECONDS)
    assert not bell.wait(0.001)
    hub.start_native_thread(bell.ring)
    assert bell.wait(SECONDS)


def test_ticket_wakes_who_waits_in_any_thread_and_lets_latecomers_pass() -> None:
    ticket = hub.Ticket()
    waiting = [gevent.spawn(ticket.wait, SECONDS) for _ in range(3)]
    woken: list[bool] = []
    entered = threading.Event()

    def wait_elsewhere() -> None:
        others = [gevent.spawn(ticket.wait, SECONDS) for _ in range(2)]
        gevent.sleep(0)
        entered.set()
        woken.append(ticket.wait(SECONDS))
        woken.extend(other.get(timeout=SECONDS) for other in others)

    thread = threading.Thread(target=wait_elsewhere)
    thread.start()
    assert entered.wait(SECONDS)
    gevent.sleep(0)
    hub.start_native_thread(ticket.end)
    assert [greenlet.get(timeout=SECONDS) for greenlet in waiting] == [True] * 3
    thread.join(SECONDS)
    assert woken == [True] * 3
    assert ticket.wait(0)
    assert repr(ticket) == "<Ticket over>"


def test_ticket_gives_up_after_its_time_and_forgets_who_waited() -> None:
    ticket = hub.Ticket()
    assert ticket.wait(0.001) is False
    assert repr(ticket) == "<Ticket 0 wait>"
    ticket.end()
    assert ticket.wait(0.001)


def test_ticket_that_ends_just_when_somebody_begins_to_wait_loses_nobody() -> None:
    for _ in range(2000):
        ticket = hub.Ticket()
        hub.start_native_thread(ticket.end)
        assert ticket.wait(SECONDS)
