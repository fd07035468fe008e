"""A chat room: what you type goes to all who are in the room, and what they type is printed.

The main program is in the room and listens, a greenlet reads what you type; both use the same proxy.
"""

import argparse
import signal
import sys

import gevent
from gevent.event import Event
from gevent.socket import wait_read

import gpyro

inside = Event()


class Visitor(gpyro.ObjBase):
    """What the server calls back."""

    def hear(self, line):
        print(line)
        inside.set()


def typed_lines():
    keyboard = sys.stdin.buffer.raw  # reads nothing ahead, of which wait_read would not know
    while True:
        wait_read(keyboard.fileno())  # meanwhile the others run
        line = keyboard.readline()
        if not line:
            return
        yield line.decode().strip()


def talk(chat, room, nick):
    inside.wait()
    try:
        for line in typed_lines():
            if line == "/quit":
                break
            if line:
                chat.say(room, nick, line)
        chat.leave(room, nick)
    except gpyro.errors.ProtocolError:
        pass  # The visit ends with it too, and tells.


def main():
    parser = argparse.ArgumentParser(description="A chat room. ctrl-D, ctrl-C or /quit leaves it.")
    parser.add_argument("nick", metavar="NICKNAME")
    parser.add_argument("room", metavar="ROOM")
    options = parser.parse_args()

    chat = gpyro.Proxy("PYRONAME://chat")
    gevent.spawn(talk, chat, options.room, options.nick)
    try:
        chat.visit(options.room, options.nick, Visitor())
    except (ValueError, gpyro.errors.PyroError) as exc:
        print("***", exc)


# A ctrl-C ends main() where it waits; as a KeyboardInterrupt it could come up in `hear`, say, and end that alone.
gevent.signal_handler(signal.SIGINT, sys.exit)
main()
