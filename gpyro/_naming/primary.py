"""The side of a pair that decides while both are up, and that makes the copies equal."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from gpyro import hub
from gpyro._naming.checking import check_change, check_twin_address
from gpyro._naming.merging import pack_change
from gpyro._naming.pairing import (
    ANSWER_SECONDS,
    GATE_SECONDS,
    LOOK_SECONDS,
    PRIMARY,
    TAKE_SECONDS,
    TWIN_ID,
    Pair,
    PairState,
)
from gpyro._naming.synchronising import synchronise
from gpyro.errors import PyroError
from gpyro.log import Log
from gpyro.namerecords import Changes
from gpyro.uri import PyroURI

__all__ = ["Primary"]

#: Revisions after which it is noted again how far the twin came.
NOTE_AFTER = 20_000


class Primary(Pair):
    """Leads: every change lasts here first, and is answered when the follower has it too."""

    role = PRIMARY

    def __init__(self, *args: Any, **options: Any) -> None:
        #: Called with leases that the follower has seen renewed.
        self.on_renewals: Callable[[list[str]], object] = lambda leases: None
        #: Changes that the follower has yet to be sent.
        self._queue: deque[Changes] = deque()
        self._queued = hub.Signal()
        self._sent = self._confirmed = 0
        super().__init__(*args, **options)
        self.storage.confirm = self._confirm

    def _loops(self) -> list[Callable[[], object]]:
        return [self._lead_loop, self._send_loop]

    def _on_changes(self, changes: Changes) -> None:
        super()._on_changes(changes)
        if self.state is PairState.LEADING:
            self._queue.append(changes)
            self._notify(self._queued)

    def _confirm(self, revision: int) -> None:
        """Wait until the twin has this revision too, or is lost."""
        deadline = time.monotonic() + GATE_SECONDS
        term = self.term
        while self.state is PairState.LEADING and self._confirmed < revision and time.monotonic() < deadline:
            self._wait_changed(LOOK_SECONDS)
        if self._confirmed < revision:
            # Nothing is answered as if both had it while only one has.
            self._lose(term, f"revision {revision} has not reached the secondary within {GATE_SECONDS:g} s")

    def _lead_loop(self) -> None:
        while self.state is not PairState.ENDED:
            try:
                if self.state is PairState.LEADING:
                    self._beat()
                elif self._twin is not None:
                    synchronise(self)
                else:
                    self._stay_single("the secondary is not known yet")
            except PyroError as exc:
                self._give_up(exc)
            except Exception as exc:
                Log.error("NameServer", f"the pair: {type(exc).__name__}: {exc}")
                self._give_up(exc)
            hub.wait_for(self._wake, (), LOOK_SECONDS)

    def _give_up(self, exc: Exception) -> None:
        self._let_go()
        self._stay_single(str(exc))
        self._lose(self.term, str(exc))
        self._reason = str(exc)
        hub.sleep(LOOK_SECONDS)

    def begin_term(self) -> str:
        """Close the gate for changes: the copies are about to be compared."""
        self.term = secrets.token_hex(8)
        self._become(PairState.SYNCING)
        return self.term

    def lead(self, term: str, revision: int) -> None:
        """Both copies are equal at this revision; from now on the twin follows."""
        self._check_term(term, PairState.SYNCING)
        self.graves.clear()
        self._queue.clear()
        self.base = self._sent = self._confirmed = revision
        self._become(PairState.LEADING)
        self._note_base()

    def _beat(self) -> None:
        """Tell the follower that we are there, and let it compare."""
        if self._queue or self._sent != self._confirmed:
            return
        revision, digest = self.storage.inspect(lambda tree: (tree.revision, tree.digest))
        term = self.term
        try:
            self.twin_proxy(ANSWER_SECONDS).beat(term, revision, digest)
        except Exception as exc:
            self._lose(term, f"the secondary does not answer: {exc}")

    def _send_loop(self) -> None:
        while self.state is not PairState.ENDED:
            if self.state is PairState.LEADING and self._queue:
                self._send()
            else:
                hub.wait_for(self._queued, (), LOOK_SECONDS)

    def _send(self) -> None:
        term, changes = self.term, []
        while self._queue:
            changes += self._queue.popleft()
        previous, self._sent = self._sent, changes[-1].revision
        packed = [pack_change(change.name, change.revision, change.after) for change in changes]
        try:
            self.twin_proxy(TAKE_SECONDS).apply(term, previous, packed)
        except Exception as exc:
            self._lose(term, f"the secondary did not take a change: {exc}")
            return
        if term == self.term and self.state is PairState.LEADING:
            self.base = self._confirmed = changes[-1].revision
            self._notify(self._changed)
            if self.base - self._noted_base > NOTE_AFTER:
                self._note_base()

    def on_change(self, term: str, method: str, args: list[Any], options: dict[str, Any]) -> Any:
        """The follower hands on a change that it was asked for."""
        # The follower may know a little earlier than we that both are equal.
        self._check_term(term, PairState.LEADING, PairState.SYNCING)
        check_change(method, args, options)
        return self.change(method, *args, **options)

    def on_renewed(self, term: str, leases: list[str]) -> None:
        """The follower has heard from the holders of these leases."""
        self._check_term(term, PairState.LEADING, PairState.SYNCING)
        self.on_renewals(leases)

    def on_hello(self, address: PyroURI) -> tuple[str, str]:
        """The secondary says where it is; returns our term and state."""
        if self._twin is None or self.state is not PairState.LEADING:
            self._note_twin(check_twin_address(address, TWIN_ID))
            self._notify(self._wake)
        return self.term, self.state.name
