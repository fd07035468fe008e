"""Meters that count what a thread does between `begin` and `end`: calls, instructions, switches, copies, memory.

Counts do not depend on how fast the machine is. A meter is made anew for each count; `end` returns its figures,
and by place what they are made of.
"""

import gc
import os
import sys
import tracemalloc
import weakref
from collections import Counter

import greenlet

from gpyro import hub

#: Smaller pieces of memory are what is around a large value, not it or parts of it.
LARGE_BYTES = 32 * 1024
#: Methods of a socket that are a system call each.
SOCKET_CALLS = ("send", "sendmsg", "sendall", "recv", "recv_into", "recvmsg", "getsockopt", "getpeername")


def place_of(code):
    return f"{os.path.basename(code.co_filename)}:{code.co_firstlineno} {code.co_name}"


class Calls:
    """Function calls: `python` are those of functions written in Python, `c` those of others.

    Among them `socket` are those of a socket, `timers` those that begin one.
    """

    def __init__(self):
        self.places = Counter()

    def begin(self):
        places = self.places

        def count(frame, event, argument):
            if event == "call":
                places[place_of(frame.f_code)] += 1
            elif event == "c_call":
                places[f"c {argument.__name__}"] += 1

        sys.setprofile(count)

    def end(self):
        sys.setprofile(None)
        places = Counter(self.places)
        c = sum(count for place, count in places.items() if place.startswith("c "))
        return {
            "python": sum(places.values()) - c,
            "c": c,
            "socket": sum(places[f"c {name}"] for name in SOCKET_CALLS),
            "timers": places[place_of(hub.Timer.__init__.__code__)],
            "places": places,
        }


class Instructions:
    """Bytecode instructions."""

    def __init__(self):
        self.places = Counter()

    def begin(self):
        places = self.places

        def count(frame, event, argument):
            if event == "opcode":
                places[place_of(frame.f_code)] += 1
            else:
                frame.f_trace_opcodes = True
                frame.f_trace_lines = False
            return count

        # Frames that have begun: that of a worker goes on with the next call.
        frame = sys._getframe(1)
        while frame is not None:
            frame.f_trace, frame.f_trace_opcodes, frame.f_trace_lines = count, True, False
            frame = frame.f_back
        sys.settrace(count)

    def end(self):
        sys.settrace(None)
        frame = sys._getframe(1)
        while frame is not None:
            frame.f_trace, frame.f_trace_lines = None, True
            frame = frame.f_back
        return {"instructions": sum(self.places.values()), "places": Counter(self.places)}


class Switches:
    """Switches between greenlets; `begun` are greenlets that had not run before."""

    def __init__(self):
        self.places = Counter()
        # Weakly: a worker that anything refers to is not used again.
        self.known = weakref.WeakSet()
        self.begun = 0

    def begin(self):
        for item in gc.get_objects():
            if isinstance(item, greenlet.greenlet) and item:
                self.known.add(item)
        item = None

        def count(event, greenlets):
            target = greenlets[1]
            self.places[f"{event} to {type(target).__name__}"] += 1
            if target not in self.known:
                self.known.add(target)
                self.begun += 1

        greenlet.settrace(count)

    def end(self):
        greenlet.settrace(None)
        return {"switches": sum(self.places.values()), "begun": self.begun, "places": Counter(self.places)}


class Copies:
    """Bytes of memory that were allocated in large pieces, also such as were freed at once.

    Memory is looked at whenever a function is called or returns, in Python or in C, so there is no more than one
    such call, or what is between two, for a copy to hide in.
    """

    def __init__(self):
        self.places = Counter()

    def begin(self):
        places = self.places
        last = 0

        def look(frame, event, argument):
            nonlocal last
            grown = tracemalloc.get_traced_memory()[1] - last
            if grown >= LARGE_BYTES:
                code = frame.f_code
                places[f"{os.path.basename(code.co_filename)}:{frame.f_lineno} {code.co_name}"] += grown
            tracemalloc.reset_peak()
            last = tracemalloc.get_traced_memory()[0]

        gc.collect()
        tracemalloc.start()
        sys.setprofile(look)

    def end(self):
        sys.setprofile(None)
        tracemalloc.stop()
        return {"allocated": sum(self.places.values()), "places": Counter(self.places)}


class Peak:
    """The most memory that was in use at once beyond what was in use before."""

    def begin(self):
        gc.collect()
        tracemalloc.start()

    def end(self):
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return {"peak": peak, "places": Counter()}


class Objects:
    """What is there more at the end than at the beginning: objects by type, blocks of memory."""

    def begin(self):
        self.types, self.blocks = self.look()

    def look(self):
        gc.collect()
        types = Counter(type(item).__name__ for item in gc.get_objects())
        return types, sys.getallocatedblocks()

    def end(self):
        types, blocks = self.look()
        types.subtract(self.types)
        places = Counter({name: count for name, count in types.items() if count})
        return {"objects": sum(places.values()), "blocks": blocks - self.blocks, "places": places}


class Memory:
    """Bytes of Python's own memory that are allocated and not freed between beginning and end, and objects."""

    def begin(self):
        gc.collect()
        tracemalloc.start()
        self.before = len(gc.get_objects())

    def end(self):
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return {"bytes": held, "objects": len(gc.get_objects()) - self.before, "places": Counter()}


class Mark:
    """Nothing but two system calls that can be found in a log."""

    def begin(self):
        os.access("/count/begin", 0)

    def end(self):
        os.access("/count/end", 0)
        return {"places": Counter()}


METERS = {
    "calls": Calls, "instructions": Instructions, "switches": Switches, "copies": Copies, "peak": Peak,
    "objects": Objects, "memory": Memory, "mark": Mark,
}  # fmt: skip
