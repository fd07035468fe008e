"""Workers that append events to a log in a file, and acknowledge them; each line says what is known by then.

    event_log.py PATH HISTORY WORKERS EVENTS

    log ID NEWEST          the file is open
    given SEQUENCE TEXT    an event has its sequence
    kept SEQUENCE          it lasts
    refused SEQUENCE WHY   it does not
    told SEQUENCE          the listener has it
    begin SEQUENCE         it is to be acknowledged
    done SEQUENCE          that lasts
    waiting SEQUENCE...    at the end, what waits
    history SEQUENCE...    and what is in the history

Each line is one system call.
"""

from __future__ import annotations

import os
import sys

import gevent

from gpyro.errors import StorageError
from gpyro.eventrecords import EventRecord, QueueRecord
from gpyro.storage.eventsqlite import EventSqlite

path = sys.argv[1]
history, workers, events = map(int, sys.argv[2:])


def say(*words: object) -> None:
    os.write(1, f"{' '.join(map(str, words))}\n".encode())


def work(worker: int) -> None:
    mine: list[int] = []
    for number in range(events):
        text = f"{storage.newest}-{worker}-{number}"
        record = EventRecord(f"Subject{worker}", f"subject{worker}", 1.5, "publisher", text.encode())
        try:
            lasting = storage.append([record], [("queue",)])
            say("given", record.sequence, text)
            lasting.settle()
        except StorageError as exc:
            say("refused", record.sequence, exc)
            continue
        say("kept", record.sequence)
        mine.append(record.sequence)
        if number % 3 == 2:
            gone = mine.pop(0)
            say("begin", gone)
            try:
                lasting = storage.acknowledge("queue", [gone])
                if number % 2:
                    # Nobody waits for the others.
                    lasting.settle()
                    say("done", gone)
            except StorageError:
                pass


storage = EventSqlite(path, max_events=history)
say("log", storage.log, storage.newest)
storage.listener = lambda records: [say("told", record.sequence) for record in records]
storage.put_queue(QueueRecord("queue", None, 1.0, 1_000_000, 30.0)).settle()
gevent.joinall([gevent.spawn(work, worker) for worker in range(workers)], raise_error=True)
say("waiting", *(record.sequence for record in storage.waiting("queue")))
say("history", *(record.sequence for record in storage.history()))
try:
    storage.acknowledge("", []).settle()
except StorageError:
    pass
storage.close()
