"""Catches errors that were raised in another process, as if they had been raised here.

`python examples/exceptions/client.py`, while server.py runs.
"""

from press_errors import PaperJam

import gpyro

press = gpyro.Proxy("PYRONAME://press")

try:
    press.divide(100, 0)
except ZeroDivisionError as exc:  # Python's own errors are always known
    print("ZeroDivisionError:", exc)

try:
    press.feed(tray=2)
except PaperJam as exc:
    print(f"PaperJam: {exc}, so empty tray {exc.tray}")

try:
    press.print_it()
except gpyro.errors.RemoteError as exc:
    print(f"RemoteError: {exc.remote_type} is not known here: {exc}")

try:
    press.fly()
except AttributeError as exc:
    print("AttributeError:", exc)

try:
    press.divide(100, 0)
except ZeroDivisionError as exc:
    print("What happened here, and below that what happened there:")
    print("".join(gpyro.util.getPyroTraceback(exc)), end="")
