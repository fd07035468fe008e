"""A chat room: what you type goes to all who are in the room, and what they type is printed.

One thread listens, the main thread reads what you type. Nothing is monkey-patched, and nothing has to be.
"""

import argparse
import sys
import threading

from gpyro.eventserver import Publisher, Subscriber


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


def main():
    parser = argparse.ArgumentParser(description="A chat room. ctrl-D or /quit leaves it.")
    parser.add_argument("nick", metavar="NICKNAME")
    parser.add_argument("room", metavar="ROOM")
    parser.add_argument("--history", type=int, default=10, help="show so many past lines first (default: 10)")
    options = parser.parse_args()

    subject = "CHAT." + options.room
    room = Room(subject, options.nick, options.history)
    print(f"*** {options.nick}, you are in {options.room}")
    listening = threading.Thread(target=room.listen)
    listening.start()
    publisher = Publisher()
    publisher.publish(subject, (options.nick, "comes in", ""))
    try:
        for line in sys.stdin:
            text = line.strip()
            if text == "/quit":
                break
            if text:
                publisher.publish(subject, (options.nick, "says", text))
    except KeyboardInterrupt:
        pass
    publisher.publish(subject, (options.nick, "leaves", ""))
    room.abort()
    listening.join()
    room.close()


main()
