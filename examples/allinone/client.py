"""Writes on the board, hears of it as events, and closes the board.

`python examples/allinone/client.py`, while one of the programs beside it runs.
"""

import gpyro
from gpyro.eventserver import Subscriber


class Reader(Subscriber):
    def event(self, event):
        print("The board says:", event.msg)
        if event.msg == "bye":
            self.abort()


reader = Reader()
reader.setThreading(0)  # one after another, in order
reader.subscribe("BOARD")
board = gpyro.Proxy("PYRONAME://board")
for text in ("good morning", "it is raining", "bye"):
    board.write(text)
reader.listen()
reader.close()
board.close()
