"""The process at the other end: `python -m benchmarks.reliability.role ROLE JSON`.

It speaks JSON lines as `benchmarks.worker` does: one that introduces it, then one for each line that it reads,
which names a method and its arguments. It ends when its standard input does.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

import gevent
from gevent.fileobject import FileObjectPosix

from benchmarks.worker import claim_output, raise_descriptor_limit, tell

#: Name of the role: its room and class.
ROLES = {
    "server": ("server", "Server"),
    "callers": ("callers", "Callers"),
    "garbage": ("garbage", "Garbage"),
    "dribble": ("dribble", "Dribble"),
    "churn": ("churn", "Churn"),
    "guessing": ("guessing", "Guessing"),
    "bombs": ("bombs", "Bombs"),
    "many": ("many", "Many"),
    "event server": ("eventing", "EventServer"),
    "subscribers": ("eventing", "Subscribers"),
    "publishers": ("eventing", "Publishers"),
}


def main() -> None:
    output = claim_output()
    raise_descriptor_limit()
    room, kind = ROLES[sys.argv[1]]
    try:
        actor = getattr(importlib.import_module(f"benchmarks.reliability.{room}"), kind)(**json.loads(sys.argv[2]))
        tell(output, {"uris": getattr(actor, "uris", [])})
        # Reading lets the loop run: the server serves meanwhile.
        with FileObjectPosix(0, "r") as lines:
            for line in lines:
                tell(output, answer(actor, json.loads(line)))
    except BaseException as exc:
        tell(output, {"error": f"{type(exc).__name__}: {exc}"})
    os._exit(0)


def answer(actor: Any, request: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = getattr(actor, request.pop("do"))(**request)
    gevent.sleep(0)
    return result


if __name__ == "__main__":
    main()
