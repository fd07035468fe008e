"""A chat server that passes on what is said by itself, with callbacks and no event server.

`python examples/chat-no-es/server.py`, then chat.py for each who takes part.
"""

from gevent import monkey

monkey.patch_all()  # so that a method that waits, here in Queue.get, lets the others go on

import queue

import gpyro

#: Whoever is so many lines behind misses some.
MAX_LINES = 100


class Chat:
    def __init__(self):
        self._lines = {}  # what is still to be told, by room and nickname

    @gpyro.cancellable  # ends too when the visitor's program does
    def visit(self, room, nick, visitor):
        """Stay in a room until `leave`: one long call, in which the visitor hears what the others say."""
        if (room, nick) in self._lines:
            raise ValueError(f"there is somebody called {nick} in {room} already")
        lines = self._lines[room, nick] = queue.Queue(MAX_LINES)
        self._tell(room, nick, f"*** {nick} comes in")
        try:
            visitor.hear(f"*** {nick}, you are in {room}")
            while (line := lines.get()) is not None:
                visitor.hear(line)
        finally:
            del self._lines[room, nick]
            self._tell(room, nick, f"*** {nick} leaves")

    def say(self, room, nick, text):
        self._tell(room, nick, f"<{nick}> {text}")

    def leave(self, room, nick):
        self._lines[room, nick].put(None)

    def _tell(self, room, speaker, line):
        for (where, nick), lines in self._lines.items():
            if where == room and nick != speaker and not lines.full():
                lines.put_nowait(line)


# Visits do not end by themselves, so the end of this program need not wait for them.
daemon = gpyro.Daemon(config=gpyro.config.snapshot(drain_timeout_seconds=0))
daemon.useNameServer(gpyro.naming.NameServerLocator().getNS())
daemon.connect(Chat(), "chat")
print("The chat is open; ctrl-C closes it.")
daemon.requestLoop()
