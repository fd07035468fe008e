"""Bells for native threads and tickets for everybody else."""

from __future__ import annotations

import threading

import gevent
import pytest

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


def test_turns_let_one_in_at_a_time_in_the_order_in_which_they_came() -> None:
    turns, done = hub.Turns(), []

    def work(number: int) -> None:
        with turns:
            done.append(("in", number))
            gevent.sleep(0)
            done.append(("out", number))

    jobs = [gevent.spawn(work, number) for number in range(5)]
    gevent.joinall(jobs, timeout=SECONDS, raise_error=True)
    assert done == [(way, number) for number in range(5) for way in ("in", "out")]
    assert repr(turns) == "<Turns free, 0 wait>"


def test_one_that_stops_waiting_for_its_turn_holds_up_nobody() -> None:
    turns = hub.Turns()
    with turns:
        waiting = [gevent.spawn(turns.__enter__) for _ in range(3)]
        gevent.sleep(0)
        assert repr(turns) == "<Turns taken, 3 wait>"
        waiting[0].kill()
        # It is thrown out when the hub runs next; by then it is its turn.
        waiting[1].kill(block=False)
    waiting[2].get(timeout=SECONDS)
    turns.__exit__()
    assert repr(turns) == "<Turns free, 0 wait>"


def test_turns_are_taken_by_threads_too() -> None:
    turns, counts = hub.Turns(), [0]

    def work() -> None:
        for _ in range(100):
            with turns:
                seen = counts[0]
                gevent.sleep(0)
                counts[0] = seen + 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert counts == [300]


def test_turn_of_a_thread_that_has_ended_is_taken_over() -> None:
    turns = hub.Turns()
    entered, waits = threading.Event(), threading.Event()

    def hold() -> None:
        with turns:
            entered.set()
            # Its hub ends in the middle of this, with the thread.
            gevent.sleep(SECONDS)

    def work() -> None:
        gevent.spawn(hold)
        gevent.sleep(0)
        assert waits.wait(SECONDS)

    thread = threading.Thread(target=work)
    thread.start()
    assert entered.wait(SECONDS)
    waiting = gevent.spawn(turns.__enter__)
    gevent.sleep(0)
    assert repr(turns) == "<Turns taken, 1 wait>"
    waits.set()
    thread.join(SECONDS)
    waiting.get(timeout=SECONDS)
    assert not turns.try_enter()
    turns.leave()
    assert turns.try_enter()


def test_turn_is_not_given_to_a_thread_that_has_ended() -> None:
    turns = hub.Turns()

    def work() -> None:
        gevent.spawn(turns.__enter__)
        gevent.sleep(0)

    with turns:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(SECONDS)
        assert repr(turns) == "<Turns taken, 1 wait>"
        waiting = gevent.spawn(turns.__enter__)
        gevent.sleep(0)
    waiting.get(timeout=SECONDS)


def test_no_timer_is_set_to_a_time_that_is_no_number() -> None:
    with pytest.raises(ValueError, match="a timer of nan seconds; a time is a number"):
        hub.Ticket().wait(float("nan"))
    signal = hub.Signal()
    timer = hub.Timer(hub.current_state().loop, float("inf"), signal.set)
    hub.wait_for(signal, (), 0.001)
    timer.cancel()


def test_pacer_lets_others_run_and_counts_its_own_time() -> None:
    ran: list[int] = []
    gevent.spawn(ran.append, 1)
    pacer = hub.Pacer(turn_seconds=0.0)
    pacer.give()
    assert ran == [1]
    assert 0 < pacer.seconds < SECONDS
