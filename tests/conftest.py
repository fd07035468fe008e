"""What all tests share.

The helpers in `tests/support` are imported as `tests.support`. The checkout itself is deliberately not on the
path under tox, where the installed wheel is what is tested, so the package is made known here by hand.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def _make_tests_importable() -> None:
    here = Path(__file__).parent
    known = sys.modules.get("tests")
    if known is not None and getattr(known, "__path__", None):
        return
    spec = importlib.util.spec_from_loader("tests", loader=None, is_package=True)
    assert spec is not None
    spec.submodule_search_locations = [str(here)]
    sys.modules["tests"] = importlib.util.module_from_spec(spec)


_make_tests_importable()
