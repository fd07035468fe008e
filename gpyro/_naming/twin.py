"""What the other name server of a pair calls, and names that are kept by both."""

from __future__ import annotations

from typing import Any

from gpyro._naming.guard import Guard
from gpyro._naming.pairing import TWIN_ID, Pair
from gpyro._naming.primary import Primary
from gpyro._naming.rights import ADMIN
from gpyro._naming.secondary import Secondary
from gpyro.errors import ProtocolError
from gpyro.namerecords import Member, Record, Records
from gpyro.names import ROOT, FlatListing, Listing, Names
from gpyro.objects import ObjBase
from gpyro.storage.base import Listener, NameStorage
from gpyro.uri import PyroURI

__all__ = ["PairStorage", "TwinObject"]


class TwinObject(ObjBase):
    """The object under TWIN_ID: the conversation of `pairing`, for callers who may do everything."""

    def __init__(self, pair: Pair, guard: Guard) -> None:
        super().__init__()
        self.objectGUID = TWIN_ID
        self._pair = pair
        self._guard = guard

    def __repr__(self) -> str:
        return f"<TwinObject of {self._pair!r}>"

    @property
    def _primary(self) -> Primary:
        """Us, if we are what a secondary calls."""
        self._guard.require(ADMIN, ROOT)
        if not isinstance(self._pair, Primary):
            raise _both("secondary")
        return self._pair

    @property
    def _secondary(self) -> Secondary:
        """Us, if we are what a primary calls."""
        self._guard.require(ADMIN, ROOT)
        if not isinstance(self._pair, Secondary):
            raise _both("primary")
        return self._pair

    # -- what the secondary calls

    def hello(self, address: PyroURI) -> tuple[str, str]:
        """See `Primary.on_hello`."""
        return self._primary.on_hello(address)

    def change(self, term: str, method: str, args: list[Any], options: dict[str, Any]) -> Any:
        """See `Primary.on_change`."""
        return self._primary.on_change(term, method, args, options)

    def renewed(self, term: str, leases: list[str]) -> None:
        """See `Primary.on_renewed`."""
        self._primary.on_renewed(term, leases)

    # -- what the primary calls

    def ping(self) -> None:
        """Answer, to a primary."""
        self._secondary  # noqa: B018  (raises to another one)

    def begin(self, term: str, address: PyroURI) -> tuple[int, int, int, int]:
        """See `Secondary.on_begin`."""
        return self._secondary.on_begin(term, address)

    def summary(self, term: str, start: int) -> list[tuple[str, int]]:
        """See `Secondary.on_summary`."""
        return self._secondary.on_summary(term, start)

    def graves(self, term: str, start: int) -> list[tuple[Any, ...]]:
        """See `Secondary.on_graves`."""
        return self._secondary.on_graves(term, start)

    def fetch(self, term: str, names: list[str]) -> list[Any]:
        """See `Secondary.on_fetch`."""
        return self._secondary.on_fetch(term, names)

    def install(self, term: str, changes: list[Any]) -> None:
        """See `Secondary.on_install`."""
        self._secondary.on_install(term, changes)

    def finish(self, term: str, revision: int, digest: int, conflicts: list[str]) -> bool:
        """See `Secondary.on_finish`."""
        return self._secondary.on_finish(term, revision, digest, conflicts)

    def apply(self, term: str, previous: int, changes: list[Any]) -> None:
        """See `Secondary.on_apply`."""
        self._secondary.on_apply(term, previous, changes)

    def beat(self, term: str, revision: int, digest: int) -> None:
        """See `Secondary.on_beat`."""
        self._secondary.on_beat(term, revision, digest)


def _both(role: str) -> ProtocolError:
    return ProtocolError(f"both name servers of the pair are {role}; start one with -1, the other with -2")


class PairStorage(NameStorage):
    """The names of one side of a pair: questions are answered here, changes go to whoever decides."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self._local = pair.storage

    def __repr__(self) -> str:
        return f"<PairStorage {self._local!r}, {self.pair!r}>"

    @property
    def _ready(self) -> NameStorage:
        self.pair.wait_ready()
        return self._local

    def register(
        self, name: str, uri_text: str, *, created: float, owner: str | None = None, lease: str | None = None,
        replace: bool = False, member: bool = False, instead_of: tuple[Member, ...] | None = None,
    ) -> None:  # fmt: skip
        # As plain tuples, which travel; they are equal.
        former = None if instead_of is None else tuple(tuple(member) for member in instead_of)
        self.pair.change(
            "register", name, uri_text, created=created, owner=owner, lease=lease, replace=replace, member=member,
            instead_of=former,
        )  # fmt: skip

    def unregister(self, name: str, uri_text: str | None = None) -> None:
        self.pair.change("unregister", name, uri_text)

    def members(self, name: str) -> tuple[Member, ...]:
        return self._ready.members(name)

    def create_group(self, name: str, *, created: float, owner: str | None = None) -> None:
        self.pair.change("create_group", name, created=created, owner=owner)

    def delete_group(self, name: str) -> Names:
        gone: Names = self.pair.change("delete_group", name)
        return gone

    def list(self, group: str, offset: int = 0, limit: int | None = None) -> Listing:
        return self._ready.list(group, offset, limit)

    def flatlist(self) -> FlatListing:
        return self._ready.flatlist()

    def scan(self, group: str, after: str | None, limit: int) -> Records:
        return self._ready.scan(group, after, limit)

    def kind(self, name: str) -> int | None:
        return self._ready.kind(name)

    def record(self, name: str) -> Record:
        return self._ready.record(name)

    def set_meta(self, name: str, meta: bytes | None) -> None:
        self.pair.change("set_meta", name, meta)

    def open_lease(self, lease: str, *, seconds: float, created: float, owner: str | None = None) -> None:
        self.pair.change("open_lease", lease, seconds=seconds, created=created, owner=owner)

    def close_lease(self, lease: str) -> Names:
        gone: Names = self.pair.change("close_lease", lease)
        return gone

    def close_leases(self, leases: Names) -> Names:
        gone: Names = self.pair.change("close_leases", leases)
        return gone

    def leases(self) -> Records:
        return self._local.leases()

    def held_by(self, lease: str) -> Names:
        return self._local.held_by(lease)

    @property
    def revision(self) -> int:
        return self._local.revision

    def listen(self, listener: Listener) -> None:
        self._local.listen(listener)

    def __len__(self) -> int:
        return len(self._local)

    def close(self) -> None:
        self._local.close()
