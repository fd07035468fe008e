"""A chat room: what you type goes to all who are in the room, and what they type is printed.

One greenlet listens, the main program reads what you type. Nothing is monkey-patched, and nothing has to be.
"""

import argparse
import signal
import sys

import gevent
from gevent.socket import wait_read

from gpyro.eventserver import Subscriber


class Room(Subscriber):
    """Prints what the others say."""

    def __init__(self, subject, nick, history):
        # Who comes late first gets the last lines that were said.
        Subscriber.__init__(self, history=history)
        self.nick = nick
        self.setThreading(0)
        self.subscribe(subject)

    def event(self, event):
        who, what, text = event.msg
        if who != self.nick:
            print(f"<{who}> {text}" if what == "says" else f"*** {who} {what}")

    def events_lost(self, count):
        print(f"*** you missed {count or 'some'} lines")


def typed_lines():
    keyboard = sys.stdin.buffer.raw  # reads nothing ahead, of which wait_read would not know
    while True:
        wait_read(keyboard.fileno())  # meanwhile the others run
        line = keyboard.readline()
        if not line:
            return
        yield line.decode().strip()


def main():
    parser = argparse.ArgumentParser(description="A chat room. ctrl-D, ctrl-C or /quit leaves it.")
    parser.add_argument("nick", metavar="NICKNAME")
    parser.add_argument("room", metavar="ROOM")
    parser.add_argument("--history", type=int, default=10, help="show so many past lines first (default: 10)")
    options = parser.parse_args()

    subject = "CHAT." + options.room
    room = Room(subject, options.nick, options.history)
    print(f"*** {options.nick}, you are in {options.room}")
    gevent.spawn(room.listen)
    try:
        room.publish(subject, (options.nick, "comes in", ""))
        for text in typed_lines():
            if text == "/quit":
                break
            if text:
                room.publish(subject, (options.nick, "says", text))
    finally:
        room.publish(subject, (options.nick, "leaves", ""))
        room.close()  # so listen() returns, too


# A ctrl-C ends main() where it waits; as a KeyboardInterrupt it could come up in `event`, say, and end that alone.
gevent.signal_handler(signal.SIGINT, sys.exit)
main()
