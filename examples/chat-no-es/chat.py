"""A chat room: what you type goes to all who are in the room, and what they type is printed.

One thread is in the room and listens, the main thread reads what you type; both use the same proxy.
"""

import argparse
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import gpyro

inside = threading.Event()


class Visitor(gpyro.ObjBase):
    """What the server calls back."""

    def hear(self, line):
        print(line)
        inside.set()


def end_of_visit(visit):
    if visit.exception():
        print("***", visit.exception())
    inside.set()


def talk(chat, room, nick, visit):
    for line in sys.stdin:
        if visit.done() or line.strip() == "/quit":
            break
        if line.strip():
            chat.say(room, nick, line.strip())


def main():
    parser = argparse.ArgumentParser(description="A chat room. ctrl-D or /quit leaves it.")
    parser.add_argument("nick", metavar="NICKNAME")
    parser.add_argument("room", metavar="ROOM")
    options = parser.parse_args()

    chat = gpyro.Proxy("PYRONAME://chat")
    with ThreadPoolExecutor() as threads:
        visit = threads.submit(chat.visit, options.room, options.nick, Visitor())
        visit.add_done_callback(end_of_visit)
        try:
            inside.wait()
            if not visit.done():
                talk(chat, options.room, options.nick, visit)
        except KeyboardInterrupt:
            inside.wait()  # as nobody can leave before that
        if not visit.done():
            chat.leave(options.room, options.nick)


main()
