"""Two name servers that keep the same names: who decides, how the other one follows, and how they agree again.

    starting    nothing is answered yet: the twin may have what we lack
    single      degraded, single copy: this one decides alone, the twin is away
    syncing     the copies are compared and made equal; changes wait
    leading     the primary: it decides, and a change is answered when the twin has it too
    following   the secondary: changes go to the primary, which sends them back

    starting  --twin away--> single      --twin found--> syncing --equal--> leading, following
    leading, following, syncing --twin does not answer--> single

The primary compares and decides; the secondary only says where it is (`hello`). Each agreement has a term of its
own, and whatever comes with another term is refused, so nothing from before an interruption is taken for new. Both
sides being up, a change is answered when both have it (on disk, where they keep names there). One that is answered
by a single copy says so in the status; it is merged when the twin is back (`merging`).

All times are monotonic.
"""

from __future__ import annotations

import enum
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from gpyro import hub
from gpyro._naming.retrying import was_made_before
from gpyro.errors import NamingError, ProtocolError, PyroError, ServerBusyError
from gpyro.log import Log
from gpyro.namerecords import Changes, Grave, Graves
from gpyro.nametree import NameTree
from gpyro.proxy import Proxy
from gpyro.storage.base import KNOWN_TO_TWIN
from gpyro.storage.tree import TreeStorage
from gpyro.uri import PyroURI

__all__ = ["PRIMARY", "SECONDARY", "TWIN_ID", "Pair", "PairState"]

#: Source: Pyro.constants, NSROLE_PRIMARY and NSROLE_SECONDARY.
PRIMARY, SECONDARY = 1, 2
#: The id of the object that the twin calls.
TWIN_ID = ":Pyro.NameServer.twin"

#: Seconds between two looks at the twin. A lost one is noticed within three of them, so that look-ups and
#: registrations stand still for less than a second.
LOOK_SECONDS = 0.25
#: Seconds that the twin has to answer; one that was killed is known at once, by its closed connection.
ANSWER_SECONDS = 0.5
#: Seconds that it has to take a change, onto its disk; then that is answered with a single copy.
TAKE_SECONDS = 1.0
#: Seconds that one step of making the copies equal may take: 50,000 records on a slow machine.
SYNC_SECONDS = 5.0
#: Seconds without a word from the leader before a follower asks, and before a half-made agreement is given up.
SILENCE_SECONDS = 0.75
#: Seconds that a server which has just started waits for its twin before it answers alone.
START_SECONDS = 2.0
#: Seconds that a change waits for the copies to be equal.
GATE_SECONDS = 3.0
#: Seconds that who asks for a comparison waits for its end; less than a caller gives to one of two servers.
RESYNC_SECONDS = 1.0
#: Most removals that are remembered for a twin that is away; the oldest are forgotten first, and such a name may
#: come back with the twin.
MAX_GRAVES = 100_000
#: Conflicts of which the words are kept.
MAX_CONFLICTS_TOLD = 20


class PairState(enum.Enum):
    """See the table at the top; the values are what `nsc status` prints."""

    STARTING = "starting"
    SINGLE = "degraded, single copy"
    SYNCING = "synchronising"
    LEADING = "paired, leading"
    FOLLOWING = "paired, following"
    ENDED = "ended"


class Pair(ABC):
    """One side of a pair: `primary.Primary` or `secondary.Secondary`.

    Args:
        storage: the names of this side.
        twin: where the other one is; None waits until it says so.
        address: our own TWIN_ID object's, for the other side.
        connect: returns a proxy for an address, ready to log in.
        is_fixed: keep `twin` even where the other one says that it is elsewhere: it was given, not guessed.

    Resources: `start` spawns greenlets on the current hub, `end` ends them.
    Errors: whatever keeps the twin from answering is told in the log and in the state, never raised.
    """

    #: PRIMARY or SECONDARY.
    role: int

    def __init__(
        self, storage: TreeStorage, twin: PyroURI | None, address: PyroURI,
        connect: Callable[[PyroURI], Proxy], is_fixed: bool = False,
    ) -> None:  # fmt: skip
        self.storage = storage
        self.address = address
        self.state = PairState.STARTING
        self.term = ""
        #: Of the tree of each: what was removed while the twin may not have known.
        self.graves: Graves = storage.bury()
        #: The latest revision that both sides are known to have had.
        self.base = self._noted_base = int(storage.get_note(KNOWN_TO_TWIN) or 0)
        #: How often a change of state left a single copy, since the start.
        self.times_degraded = 0
        self.conflicts = 0
        self.told_conflicts: deque[str] = deque(maxlen=MAX_CONFLICTS_TOLD)
        #: Called when this side begins to decide, so that it gives all leases their full length.
        self.on_lead: Callable[[], object] = lambda: None
        #: Called in a greenlet of its own when this side begins to decide: alone for the first time, or as leader.
        self.on_settled: Callable[[PairState], object] = lambda state: None
        self._connect = connect
        self._twin = twin
        self._is_fixed = is_fixed
        self._proxy: Proxy | None = None
        self._hub: hub.HubState | None = None
        self._changed = hub.Signal()
        self._wake = hub.Signal()
        self._lock = hub.NativeLock()
        self._working_now = 0
        self._heard = self._since = time.monotonic()
        self._ready = False
        self._reason = "not yet contacted"
        storage.inspect(self._set_parity)
        storage.listen(self._on_changes)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {self.state.value}, twin {self._twin or 'unknown'}, base {self.base}>"

    def _set_parity(self, tree: NameTree) -> None:
        tree.parity = self.role - 1

    # -- what others see -------------------------------------------------------------------------------------

    @property
    def twin(self) -> PyroURI | None:
        """The address of the other side's TWIN_ID object, as far as it is known."""
        return self._twin

    @property
    def hub_state(self) -> hub.HubState | None:
        """The hub that serves the name server; None before `start`."""
        return self._hub

    def status(self) -> dict[str, Any]:
        """Return what `nsc status` shows of the pair."""
        single = self.state in (PairState.SINGLE, PairState.STARTING)
        revision, digest = self.storage.inspect(lambda tree: (tree.revision, tree.digest))
        return {
            "role": "primary" if self.role == PRIMARY else "secondary",
            "state": self.state.value,
            "twin": None if self._twin is None else f"{self._twin.address}:{self._twin.port}",
            "reason": self._reason if single else "",
            "degraded_seconds": round(time.monotonic() - self._since, 3) if single else 0.0,
            "revision": revision,
            "digest": f"{digest:016x}",
            "times_degraded": self.times_degraded,
            "conflicts": self.conflicts,
            "recent_conflicts": list(self.told_conflicts),
        }

    def decides(self) -> bool:
        """Tell whether this side decides about changes now, and so about the end of leases."""
        return self.state in (PairState.SINGLE, PairState.LEADING)

    def wait_ready(self) -> None:
        """Wait until look-ups may be answered: a server that has just started may lack what its twin has."""
        while not self._ready:
            self._wait_changed(LOOK_SECONDS)

    # -- life ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look for the twin; from the thread whose hub serves the name server."""
        self._hub = hub.current_state()
        self._hub.turns_wanted[self] = LOOK_SECONDS
        for loop in self._loops():
            hub.spawn_in(self._hub, loop)

    @abstractmethod
    def _loops(self) -> list[Callable[[], object]]:
        """Return what runs in greenlets of their own until the end."""

    def end(self) -> None:
        """Stop; the twin notices at once."""
        self._become(PairState.ENDED, "this name server ends")
        self._let_go()
        if self._hub is not None:
            self._hub.turns_wanted.pop(self, None)

    def resync(self) -> None:
        """Compare the copies anew, and return when they are equal, or, if they are large, being compared still.

        Raises:
            NamingError: the twin is not there, or went away meanwhile.
        """
        paired = (PairState.LEADING, PairState.FOLLOWING)
        if self.state in paired:
            self._lose(self.term, "asked for")
            until = time.monotonic() + RESYNC_SECONDS
            while self.state not in paired and time.monotonic() < until:
                self._wait_changed(LOOK_SECONDS)
        if self.state not in (*paired, PairState.SYNCING):
            # Source: Pyro 3.16, transcript A6.
            raise NamingError(f"cannot resync: twin NS is unknown or unreachable ({self._reason})")

    def _become(self, state: PairState, reason: str = "") -> None:
        before, self.state = self.state, state
        if before is PairState.ENDED:
            self.state = before
        if self.state is not before:
            if before in (PairState.LEADING, PairState.FOLLOWING):
                self._since = time.monotonic()
                self.times_degraded += 1
                self._run_in_hub(self._keep_base)
            self._reason = reason
            text = f"the pair is {state.value}{f': {reason}' if reason else ''}"
            (Log.warn if state is PairState.SINGLE else Log.msg)("NameServer", text)
            if self.decides():
                self._run_in_hub(self.on_lead)
            if state is PairState.LEADING or (state is PairState.SINGLE and not self._ready):
                self._run_in_hub(lambda: hub.spawn_in(hub.current_state(), lambda: self._tell_settled(state)))
            self._ready |= state not in (PairState.STARTING, PairState.SYNCING)
        self._notify(self._changed)
        self._notify(self._wake)

    def _tell_settled(self, state: PairState) -> None:
        try:
            self.on_settled(state)
        except PyroError as exc:
            Log.warn("NameServer", f"the pair: {exc}")

    def _keep_base(self) -> None:
        hub.spawn_in(hub.current_state(), self._note_base)

    def _note_base(self) -> None:
        """Note how far the twin came, for a later start; what was removed until then need not be remembered."""
        base = self._noted_base = self.base
        try:
            self.storage.put_note(KNOWN_TO_TWIN, str(base))
        except PyroError as exc:
            Log.warn("NameServer", f"could not note how far the twin came: {exc}")

    def _stay_single(self, reason: str) -> None:
        if self.state is PairState.STARTING:
            self._become(PairState.SINGLE, reason)

    def _lose(self, term: str, reason: str) -> None:
        """The twin did not answer within this term."""
        if term == self.term and self.state in (PairState.LEADING, PairState.FOLLOWING, PairState.SYNCING):
            self.term = ""
            self._become(PairState.SINGLE, reason)

    def _let_go(self) -> None:
        proxy, self._proxy = self._proxy, None
        if proxy is not None:
            proxy._release()

    # -- waiting, from any thread ----------------------------------------------------------------------------

    def _run_in_hub(self, function: Callable[[], object]) -> None:
        if self._hub is not None:
            hub.run_soon_or_now(self._hub, function)

    def _notify(self, signal: hub.Signal) -> None:
        self._run_in_hub(signal.set)

    def _wait_changed(self, seconds: float) -> None:
        if self._hub is not None and hub.is_current(self._hub):
            hub.wait_for(self._changed, (), seconds)
        else:
            hub.sleep(min(seconds, 0.01))

    # -- changes ---------------------------------------------------------------------------------------------

    def change(self, method: str, *args: Any, **options: Any) -> Any:
        """Make a change to the names, here or at the twin, whoever decides.

        Args:
            method: of the storage.

        Raises:
            ServerBusyError: the copies were not made equal in time; nothing was done. Whatever the method raises.
        """
        deadline = time.monotonic() + GATE_SECONDS
        unsure = False
        while True:
            self._wait_open(deadline)
            term = self.term
            try:
                is_made, answer = self._make(term, method, args, options)
                if is_made:
                    return answer
            except NamingError as exc:
                if unsure and self._was_made(method, exc, args):
                    return []
                raise
            except ProtocolError as exc:
                unsure = True
                self._note_refusal(term, exc)

    def _make(self, term: str, method: str, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[bool, Any]:
        """Make a change here, if this side decides; return whether it did, and what came of it."""
        with self._working() as may:
            return may, getattr(self.storage, method)(*args, **options) if may else None

    def _note_refusal(self, term: str, exc: ProtocolError) -> None:
        """The twin did not make a change that it was handed."""
        self._lose(term, f"the twin did not take a change: {exc}")

    def _wait_open(self, deadline: float) -> None:
        while self.state in (PairState.STARTING, PairState.SYNCING):
            if time.monotonic() >= deadline:
                raise ServerBusyError(
                    f"the pair is {self.state.value}, which takes more than {GATE_SECONDS:g} s; try again later"
                )
            self._wait_changed(LOOK_SECONDS)
        if self.state is PairState.ENDED:
            raise ServerBusyError("this name server ends; try its twin")

    def _was_made(self, method: str, error: NamingError, args: tuple[Any, ...]) -> bool:
        uri = args[1] if len(args) > 1 else None
        return was_made_before(method, error, uri, lambda: [m.uri for m in self.storage.members(args[0])])

    @contextmanager
    def _working(self) -> Iterator[bool]:
        """Count a change that is being made here; false where somebody else decides by now."""
        with self._lock:
            may = self.decides()
            self._working_now += may
        try:
            yield may
        finally:
            with self._lock:
                self._working_now -= may

    def await_quiet(self) -> None:
        """Wait until no change is being made here any more.

        Raises:
            ProtocolError: that takes too long.
        """
        deadline = time.monotonic() + SYNC_SECONDS
        while self._working_now:
            if time.monotonic() > deadline:
                raise ProtocolError(f"{self._working_now} changes were not done within {SYNC_SECONDS:g} s")
            hub.sleep(0.002)

    def _on_changes(self, changes: Changes) -> None:
        """Note what lasts here; the storage's lock is held, in any thread."""
        for change in changes:
            if change.after is not None:
                self.graves.pop(change.name, None)
            elif change.before is not None:
                self.graves[change.name] = Grave.of(change)
        while len(self.graves) > MAX_GRAVES:
            del self.graves[next(iter(self.graves))]

    def forget_graves_of(self, names: Iterable[str]) -> None:
        """What went with a lease that was not renewed here must not go where it was renewed.

        On the disk they stay: a holder who loses names so after a crash registers them anew by itself.
        """
        for name in names:
            self.graves.pop(name, None)

    # -- both ------------------------------------------------------------------------------------------------

    def _check_term(self, term: str, *states: PairState) -> None:
        self._heard = time.monotonic()
        if term != self.term or self.state not in states:
            raise ProtocolError(f"this name server is {self.state.value}, in another term")

    def _note_twin(self, address: PyroURI) -> None:
        if self._twin is None or not self._is_fixed:
            self._twin = address

    def skip_to(self, revision: int) -> None:
        """Give only revisions above this one from now on."""

        def skip(tree: NameTree) -> None:
            tree.revision = max(tree.revision, revision)

        self.storage.inspect(skip)

    def note_conflicts(self, conflicts: list[str]) -> None:
        """Count and tell names that both sides gave away."""
        self.conflicts += len(conflicts)
        for text in conflicts:
            self.told_conflicts.append(text)
            Log.error("NameServer", f"conflict: {text}")

    def twin_proxy(self, seconds: float) -> Proxy:
        """Return a proxy of the other side whose calls take at most `seconds`.

        Raises:
            ProtocolError: it is not known where that is.
        """
        if self._twin is None:
            raise ProtocolError("the twin is not known yet")
        if self._proxy is None or str(self._proxy.URI) != str(self._twin):
            self._let_go()
            self._proxy = self._connect(self._twin)
        self._proxy._setTimeout(seconds)
        return self._proxy
