"""Serves from a thread while the main program sits in input(): how it reads is its argument."""

import sys
import threading

import Pyro.core


class Chat(Pyro.core.ObjBase):
    def say(self, text):
        return f"heard {text}"


daemon = Pyro.core.Daemon(host="localhost", port=0, norange=1)
print("serving", daemon.connect(Chat()), flush=True)
how = sys.argv[1]
if how == "loop":

    def typed(ready):
        assert ready == [sys.stdin]
        print("typed", sys.stdin.readline().strip(), flush=True)

    lines = []
    while len(lines) < 2:
        daemon.handleRequests(others=[sys.stdin], callback=lambda ready: (typed(ready), lines.append(1)))
    daemon.shutdown(True)
    sys.exit()
thread = threading.Thread(target=daemon.requestLoop)
thread.start()
try:
    if how == "input":
        while True:
            print("typed", input("say> "), flush=True)
    elif how == "lines":
        for line in sys.stdin:
            print("typed", line.strip(), flush=True)
    else:
        print("typed", sys.stdin.read().split(), flush=True)
except EOFError as x:
    print("end", x, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
finally:
    daemon.shutdown(True)
    thread.join()
