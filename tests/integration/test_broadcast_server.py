"""What a broadcast server answers, and to whom: real datagrams on loopback."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

import gevent
import pytest

from gpyro._naming.broadcast import (
    ANSWERS_PER_SOURCE,
    HEADER,
    NONCE_BYTES,
    QUESTION_BYTES,
    BCReqValidator,
    Kind,
    build_question,
)
from tests.support.discovery import SECONDS, URI, Asker, answer_to, answering

# -- the server ------------------------------------------------------------------------------------------------


def test_server_answers_with_the_address_and_the_questions_nonce() -> None:
    with answering() as one, closing(Asker(one.port)) as asker:
        assert asker.ask() == str(URI)
        assert asker.ask() == str(URI)
        assert one.answered == 2


def test_answers_are_never_larger_than_questions_counted_in_bytes() -> None:
    with answering() as one, closing(Asker(one.port)) as asker:
        full = HEADER.size + len(str(URI))
        assert asker.ask(size=full - 1) is None
        for size in (0, 1, HEADER.size - 1, HEADER.size):
            assert asker.ask(size=size) is None
        assert asker.received == 0
        asker.sent = 0
        assert asker.ask(size=full) == str(URI)
        assert asker.received <= asker.sent


def test_what_is_no_question_gets_no_answer() -> None:
    with answering() as one, closing(Asker(one.port)) as asker:
        question = build_question(Kind.LOCATION, bytes(NONCE_BYTES))
        for data in (b"location", b"shutdown", b"GET_NSURI", b"", bytes(548), question + b"!"):
            asker.send(data)
        asker.send(answer_to(question, str(URI)))
        assert asker.ask() == str(URI)
        assert asker.hear(0) is None
        assert one.dropped == 7


def test_one_address_gets_so_many_answers_a_second_and_no_more() -> None:
    with answering() as one, closing(Asker(one.port)) as asker:
        question = build_question(Kind.LOCATION, bytes(NONCE_BYTES))
        start = time.monotonic()
        for sent in range(40, 201, 40):
            for _ in range(40):
                asker.send(question)
            with gevent.Timeout(SECONDS):
                while one.answered + one.dropped < sent:
                    gevent.sleep(0.001)
        seconds_begun = int(time.monotonic() - start) + 1
        assert ANSWERS_PER_SOURCE <= one.answered <= ANSWERS_PER_SOURCE * seconds_begun
        assert one.answered + one.dropped == 200


def test_shutdown_is_refused_and_logged_whatever_the_validator_says(caplog: pytest.LogCaptureFixture) -> None:
    with answering() as one, closing(Asker(one.port)) as asker:
        assert asker.ask(Kind.SHUTDOWN) == "Shutdown request denied"
        assert "shutdown request from 127.0.0.1 refused" in caplog.text
        assert asker.ask() == str(URI)
        assert one.refused == 1


def test_validator_decides_about_locations_and_replies() -> None:
    class Mine(BCReqValidator):
        def acceptLocationCmd(self) -> Any:
            assert self.addr[0] == "127.0.0.1"
            if answer == "reply":
                self.reply("not you! " + "x" * 2000)
                return 0
            return answer

        def acceptShutdownCmd(self) -> int:
            self.reply(b"denied!")
            return 1

    answer: Any = 1
    with answering(validator=Mine()) as one, closing(Asker(one.port)) as asker:
        assert asker.ask() == str(URI)
        for one_of_these in (0, None, (1, 0), "yes"):
            answer = one_of_these
            asker.send(build_question(Kind.LOCATION, bytes(NONCE_BYTES)))
            # The next answer that comes is that of the shutdown.
            assert asker.ask(Kind.SHUTDOWN) == "denied!"
        answer = "reply"
        text = asker.ask()
        assert text is not None
        assert text.startswith("not you! xxx")
        assert len(text) == QUESTION_BYTES - HEADER.size
        assert asker.received <= asker.sent


def test_validator_that_raises_is_logged_and_means_no(caplog: pytest.LogCaptureFixture) -> None:
    class Mine(BCReqValidator):
        def acceptLocationCmd(self) -> int:
            raise KeyError("bug in it")

    with answering(validator=Mine()) as one, closing(Asker(one.port)) as asker:
        asker.send(build_question(Kind.LOCATION, bytes(NONCE_BYTES)))
        assert asker.ask(Kind.SHUTDOWN) == "Shutdown request denied"
        assert "<Mine> failed for location of 127.0.0.1, so no: KeyError('bug in it')" in caplog.text


def test_validator_that_waits_has_one_question_at_a_time() -> None:
    class Mine(BCReqValidator):
        inside = 0

        def acceptLocationCmd(self) -> int:
            self.inside += 1
            addr = self.addr
            gevent.sleep(0.005)
            assert (self.inside, self.addr) == (1, addr)
            self.inside -= 1
            return 1

    with answering(validator=Mine()) as one:
        askers = [Asker(one.port) for _ in range(5)]
        jobs = [gevent.spawn(asker.ask) for asker in askers]
        gevent.joinall(jobs, timeout=SECONDS, raise_error=True)
        assert [job.value for job in jobs] == [str(URI)] * 5
        for asker in askers:
            asker.close()


def test_validator_that_hangs_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gpyro._naming.broadcast.VALIDATOR_SECONDS", 0.01)

    class Mine(BCReqValidator):
        def acceptLocationCmd(self) -> int:
            gevent.sleep(3600)
            return 1

    with answering(validator=Mine()) as one, closing(Asker(one.port)) as asker:
        asker.send(build_question(Kind.LOCATION, bytes(NONCE_BYTES)))
        assert asker.ask(Kind.SHUTDOWN) == "Shutdown request denied"
        assert "failed for location" in caplog.text
