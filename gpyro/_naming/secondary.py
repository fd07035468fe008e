"""The side of a pair that follows while both are up, and goes on alone when the primary is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import Context
from itertools import islice
from typing import Any

from gpyro import hub
from gpyro._naming.checking import check_record, check_removal, check_revision, check_twin_address
from gpyro._naming.merging import pack_change, replay, unpack_change
from gpyro._naming.pairing import (
    ANSWER_SECONDS,
    LOOK_SECONDS,
    SECONDARY,
    SILENCE_SECONDS,
    START_SECONDS,
    SYNC_SECONDS,
    TAKE_SECONDS,
    TWIN_ID,
    Pair,
    PairState,
)
from gpyro._naming.synchronising import digests
from gpyro.errors import ConnectionClosedError, ProtocolError, PyroError
from gpyro.log import Log
from gpyro.uri import PyroURI

__all__ = ["Secondary"]

#: Names that travel at once while copies are compared: an answer of about a MB.
SUMMARY_AT_ONCE = 20_000


class Secondary(Pair):
    """Follows: changes that it is asked for are handed to the primary, and come back to it from there."""

    role = SECONDARY

    def __init__(self, *args: Any, **options: Any) -> None:
        #: Leases that were renewed here; the primary, who decides about their end, is to hear of it.
        self._renewed: set[str] = set()
        #: Names and digests of what is here, while copies are compared.
        self._summary: list[tuple[str, int]] = []
        super().__init__(*args, **options)

    def _loops(self) -> list[Callable[[], object]]:
        return [self._follow_loop]

    def _make(self, term: str, method: str, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[bool, Any]:
        if self.state is PairState.FOLLOWING:
            proxy = self.twin_proxy(TAKE_SECONDS + ANSWER_SECONDS)
            # Without the caller's deadline: that his time is over is no fault of the primary's.
            return True, Context().run(proxy.change, term, method, list(args), options)
        return super()._make(term, method, args, options)

    def _note_refusal(self, term: str, exc: ProtocolError) -> None:
        self._lose(term, f"the primary did not take a change: {exc}")
        if not isinstance(exc, ConnectionClosedError):
            # It is there, so it will compare with us; nothing is decided here meanwhile.
            self._wait_sync()

    def _wait_sync(self) -> None:
        until = time.monotonic() + SILENCE_SECONDS
        while self.state is PairState.SINGLE and time.monotonic() < until:
            self._wait_changed(LOOK_SECONDS)

    def _follow_loop(self) -> None:
        started = time.monotonic()
        while self.state is not PairState.ENDED:
            try:
                self._look(started)
            except Exception as exc:
                # Whatever it is: without this loop nobody would notice that the primary is gone.
                Log.error("NameServer", f"the pair: {type(exc).__name__}: {exc}")
                self._lose(self.term, str(exc))
            hub.wait_for(self._wake, (), LOOK_SECONDS)

    def _look(self, started: float) -> None:
        silent = time.monotonic() - self._heard > SILENCE_SECONDS
        if self._twin is not None and (silent or self.state in (PairState.SINGLE, PairState.STARTING)):
            self._say_hello()
        elif self._twin is None:
            self._stay_single("the primary is not known yet")
        if self.state is PairState.FOLLOWING and self._renewed:
            self._tell_renewed()
        if self.state is PairState.SYNCING and time.monotonic() - self._heard > SYNC_SECONDS:
            self._lose(self.term, "the primary stopped in the middle of it")
        if time.monotonic() - started > START_SECONDS:
            self._stay_single("the primary did not begin")

    def note_renewed(self, lease: str) -> None:
        """A lease was renewed here; never waits."""
        if self.state is PairState.FOLLOWING:
            self._renewed.add(lease)

    def _tell_renewed(self) -> None:
        term, leases = self.term, self._renewed
        self._renewed = set()
        try:
            self.twin_proxy(ANSWER_SECONDS).renewed(term, sorted(leases))
        except PyroError as exc:
            # Whoever decides next gives all leases their full length.
            self._lose(term, f"the primary did not hear of renewed leases: {exc}")

    def _say_hello(self) -> None:
        term = self.term
        try:
            theirs, state = self.twin_proxy(ANSWER_SECONDS).hello(self.address)
        except PyroError as exc:
            self._let_go()
            self._stay_single(f"the primary does not answer: {exc}")
            self._lose(term, f"the primary does not answer: {exc}")
            self._reason = str(exc)
            hub.sleep(LOOK_SECONDS)
            return
        leads = state in (PairState.LEADING.name, PairState.SYNCING.name)
        if self.state is PairState.FOLLOWING and not (leads and theirs == term):
            self._lose(term, "the primary has begun anew")

    def on_begin(self, term: str, address: PyroURI) -> tuple[int, int, int, int]:
        """The primary is about to compare; returns base, revision, and the numbers of records and graves."""
        self._note_twin(check_twin_address(address, TWIN_ID))
        self.term = term
        self._heard = time.monotonic()
        self._become(PairState.SYNCING)
        self.await_quiet()
        self._summary = list(self.storage.inspect(digests).items())
        return self.base, self.storage.revision, len(self._summary), len(self.graves)

    def on_summary(self, term: str, start: int) -> list[tuple[str, int]]:
        """Return names and digests of some of our records."""
        self._check_term(term, PairState.SYNCING)
        return self._summary[start : start + SUMMARY_AT_ONCE]

    def on_graves(self, term: str, start: int) -> list[tuple[Any, ...]]:
        """Return some of our graves."""
        self._check_term(term, PairState.SYNCING)
        graves = islice(self.graves.items(), start, start + SUMMARY_AT_ONCE)
        return [(name, *grave) for name, grave in graves]

    def on_fetch(self, term: str, names: list[str]) -> list[Any]:
        """Return our records of these names."""
        self._check_term(term, PairState.SYNCING)
        records = self.storage.inspect(lambda tree: [tree.get(name) for name in names])
        return [pack_change(r.name, r.revision, r) for r in records if r is not None]

    def on_install(self, term: str, packed: list[Any]) -> None:
        """Put what the primary has decided in place."""
        self._check_term(term, PairState.SYNCING)
        self._put_in_place(packed)

    def on_finish(self, term: str, revision: int, digest: int, conflicts: list[str]) -> bool:
        """The primary has sent everything; returns whether the copies are equal. Then we follow."""
        self._check_term(term, PairState.SYNCING)
        check_revision(revision)
        self._summary = []
        mine = self.storage.inspect(lambda tree: tree.digest)
        if mine != digest:
            self._lose(term, "the copies are not equal")
            return False
        self.skip_to(revision)
        self._check_term(term, PairState.SYNCING)
        self.graves.clear()
        self.base = revision
        self.note_conflicts(conflicts)
        self._become(PairState.FOLLOWING)
        self._run_in_hub(self._keep_base)
        return True

    def on_apply(self, term: str, previous: int, packed: list[Any]) -> None:
        """Take the leader's changes; returns when they last here too."""
        self._check_term(term, PairState.FOLLOWING)
        if self.base != previous:
            self._lose(term, f"changes after revision {self.base} are missing")
            raise ProtocolError(f"changes up to revision {previous} have not come, only up to {self.base}")
        self._put_in_place(packed)
        self.base = packed[-1][1]

    def on_beat(self, term: str, revision: int, digest: int) -> None:
        """The leader is there; compare where both are at the same revision."""
        self._check_term(term, PairState.FOLLOWING)
        mine = self.storage.inspect(lambda tree: (tree.revision, tree.digest))
        if mine[0] == revision and mine[1] != digest:
            self._lose(term, "the copies are not equal")
            raise ProtocolError(f"the copies differ at revision {revision}")

    def _put_in_place(self, packed: list[Any]) -> None:
        changes = [unpack_change(one) for one in packed]
        for name, revision, record in changes:
            check_revision(revision)
            if record is None:
                check_removal(name)
            else:
                check_record(record)
        self.storage.adopt(lambda tree: replay(tree, changes))
