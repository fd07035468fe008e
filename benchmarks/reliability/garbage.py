"""R2: frames that are malformed, cut short, out of order, in every state of a connection."""

from __future__ import annotations

import random
from typing import Any

import gevent

from gpyro.uri import PyroURI
from tests.support.attackers import Caller, hello, mutate, real_frames, request

__all__ = ["Garbage"]

#: Connections begun and frames sent by one caller before it connects anew, if it is let.
FRAMES_EACH = 20


class Garbage:
    """Many callers in one process; `uris` of the daemon with a login and the one without."""

    def __init__(self, uris: list[str]) -> None:
        self._places = [PyroURI(uri) for uri in uris[:2]]
        self._dice = random.Random(20)
        self._left = self.frames = self.connections = self.refused = 0
        self._alphabet = {uri: real_frames(uri.objectID) for uri in self._places}

    def run(self, frames: int, callers: int) -> dict[str, Any]:
        """Send so many frames from so many callers at once."""
        self._left = frames
        jobs = [gevent.spawn(self._call_on, number) for number in range(callers)]
        gevent.joinall(jobs, raise_error=True)
        return {"frames": self.frames, "connections": self.connections, "refused": self.refused}

    def _call_on(self, number: int) -> None:
        place, greets = self._places[number % 2], number // 2 % 2
        while self._left > 0:
            self.connections += 1
            try:
                caller = Caller(place.port)
            except OSError:
                self.refused += 1
                continue
            try:
                self._speak(caller, place, bool(greets), login=number % 2 == 0)
            except (OSError, EOFError):
                pass
            finally:
                caller.close(reset=self._dice.random() < 0.2)

    def _speak(self, caller: Caller, place: Any, greets: bool, login: bool) -> None:
        dice, alphabet = self._dice, self._alphabet[place]
        if greets and login:
            caller.log_in()
        elif greets:
            caller.greet()
        elif dice.random() < 0.5:
            # Half of those who do not greet properly open properly, so that it is a frame that is wrong.
            caller.sock.sendall(hello()[:6])
        elif login and dice.random() < 0.5:
            caller.be_challenged()
        for _ in range(FRAMES_EACH):
            if self._left <= 0:
                return
            burst = [mutate(dice.choice(alphabet), dice) for _ in range(dice.choice((1, 1, 1, 2, 5)))]
            if dice.random() < 0.1:
                burst.insert(dice.randrange(len(burst) + 1), request(place.objectID, "echo"))
            self._left -= len(burst)
            self.frames += len(burst)
            for frame in burst:
                # Without the code a sealed connection would take none of them apart.
                if dice.random() < 0.9:
                    caller.send(frame)
                else:
                    caller.sock.sendall(frame)
            gevent.sleep(0)
            caller.sock.settimeout(0.0)
            try:
                while caller.sock.recv(65536):
                    pass
                return
            except BlockingIOError:
                pass
            finally:
                caller.sock.settimeout(20.0)
