"""What the thread of the requests does with the name server, where that is more than one call."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from gpyro.errors import AccessDeniedError, NamingError, PyroError
from gpyro.names import OBJECT, ROOT, join_name
from gpyro_cli._xnsc.model import Page, is_stale
from gpyro_cli._xnsc.worker import in_words

if TYPE_CHECKING:
    from gpyro.naming import NameServerProxy

__all__ = ["each", "look_after", "read_page", "read_status", "search"]

#: Questions for details that are on their way at once.
MAX_SIDE_BY_SIDE = 32


def each(names: Iterable[str], action: Callable[[str], object]) -> list[tuple[str, str]]:
    """Do it for each name; returns (name, what went wrong or empty) of each."""
    results = []
    for name in names:
        try:
            action(name)
        except PyroError as exc:
            results.append((name, in_words(exc)))
        else:
            results.append((name, ""))
    return results


def read_status(ns: NameServerProxy) -> tuple[str, dict[str, Any]]:
    """Return which server answers, of a pair, and its status; an empty one for who may not know it."""
    try:
        status = ns.status()
    except AccessDeniedError:
        status = {}
    return str(ns.URI), status


def read_page(ns: NameServerProxy, page: Page) -> tuple[list[tuple[str, int]], dict[str, bool]]:
    """Return a page of a group, and {name: True} of those behind which nobody stands any more."""
    entries = ns.list(page.group, page.offset, page.limit)
    doubtful = read_status(ns)[1].get("stale_leases")
    objects = [join_name(page.group, part) for part, kind in entries if kind == OBJECT] if doubtful else []
    return entries, {name: stale for name, stale in look_after(ns, objects).items() if stale}


def look_after(ns: NameServerProxy, names: Iterable[str]) -> dict[str, bool]:
    """Return {name: whether nobody stands behind it}, asked side by side; without those that are gone."""
    from gevent.pool import Pool

    def ask(name: str) -> tuple[str, bool] | None:
        try:
            return name, is_stale(ns.details(name))
        except (NamingError, AccessDeniedError):
            return None

    return dict(filter(None, Pool(MAX_SIDE_BY_SIDE).imap_unordered(ask, names)))


def search(ns: NameServerProxy, pattern: str, after: str, limit: int) -> list[dict[str, Any]]:
    """Return the details of names that a pattern finds behind a name; one more than the limit, if there is more.

    Text without wildcards is looked for anywhere in the last parts; with a colon in front, full names begin so.
    """
    if not any(character in pattern for character in "*?["):
        pattern = f"{pattern}*" if pattern.startswith(ROOT) else f"*{pattern}*"
    return list(itertools.islice(ns.search(ROOT, glob=pattern, after=after), limit + 1))
