"""Tells what a program sees of itself, and ends as it is told."""

import json
import os
import sys

import __main__

import sibling


class Thing:
    pass


print(
    json.dumps({
        "argv": sys.argv, "name": __name__, "file": __file__, "path": sys.path[0], "main": __main__.Thing is Thing,
        "module": Thing.__module__, "sibling": sibling.VALUE, "doc": __doc__.split()[0], "spec": __spec__ is None,
        "annotations": sorted(name for name in globals() if name.startswith("__")),
    }),
    flush=True,
)  # fmt: skip
how = sys.argv[1]
if how == "status":
    sys.exit(7)
elif how == "text":
    sys.exit("a last word")
elif how == "error":
    raise LookupError("nobody catches it")
elif how == "interrupt":
    os.kill(os.getpid(), 2)
    raise AssertionError("not interrupted")
