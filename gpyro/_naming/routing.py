"""Which of the two name servers of a pair a proxy talks to, and how it moves to the other one and back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from gpyro import hub
from gpyro._naming.retrying import was_made_before
from gpyro._proxy.core import Core
from gpyro.context import current_scope, deadline
from gpyro.errors import (
    ConnectionClosedError,
    ConnectionDeniedError,
    NamingError,
    ProtocolError,
    PyroError,
    ServerBusyError,
    TimeoutError,
    UnknownObjectError,
)
from gpyro.proxy import RemoteMethod
from gpyro.uri import PyroURI

__all__ = ["Route"]

#: Seconds after which a server is asked again whether it has a twin: it may have got one.
LEARN_SECONDS = 15.0
#: Seconds that one try may take while there is another server to ask and the proxy has no limit of its own.
TRY_SECONDS = 1.5
#: Seconds for all tries of one call together: a pair decides within one who goes on alone.
FAILOVER_SECONDS = 3.0
#: Seconds between two rounds of tries, in which neither answered.
ROUND_SECONDS = 0.05
#: Seconds with the other server before we look whether the first one is back.
RETURN_SECONDS = 5.0


class Route:
    """The way of one proxy's calls; safe from any thread and greenlet.

    Args:
        home: to the server that the proxy was made for; it is preferred.
        use: called with the way that is used from now on.

    Errors: a server that is away is passed over as long as the other one answers.
    """

    def __init__(self, home: Core, use: Callable[[Core], object]) -> None:
        self.home = home
        self.away: Core | None = None
        self.current = home
        self._use = use
        self._learned_at = -LEARN_SECONDS
        self._moved_at = 0.0
        self._looking_home = False

    def __repr__(self) -> str:
        away = None if self.away is None else self.away.uri
        return f"<Route to {self.current.uri}, home {self.home.uri}, twin {away}>"

    def cores(self) -> list[Core]:
        """Return the ways that there are."""
        return [self.home] if self.away is None else [self.home, self.away]

    def know_twin(self, uri: PyroURI | None) -> None:
        """Note where the other server is."""
        if uri is None or str(uri) in {str(core.uri) for core in self.cores()}:
            return
        away = Core(uri, self.home._settings)
        self.home.hand_on(away)
        old, self.away = self.away, away
        if old is not None:
            if self.current is old:
                self._go(self.home)
            old.release()

    def forget_twin(self) -> None:
        """Go home; the other way has been told something else about who we are."""
        old, self.away = self.away, None
        self._go(self.home)
        self._learned_at = -LEARN_SECONDS
        if old is not None:
            old.release()

    # -- calls -----------------------------------------------------------------------------------------------

    def ask(self, method: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Call a method that changes nothing; where the answer is lost it is asked again."""
        self._prepare()
        if self.away is not None:
            answer = self._try_all(method, args, options, None)
        else:
            try:
                answer = RemoteMethod(self.current, method)(*args, **options)
            except TimeoutError:
                raise
            except ConnectionClosedError:
                answer = RemoteMethod(self.current, method)(*args, **options)
        self._learn_if_due()
        return answer

    def change(
        self, method: str, args: tuple[Any, ...], options: dict[str, Any],
        addresses: Callable[[], Iterable[object]],
    ) -> Any:  # fmt: skip
        """Call a method that changes something.

        Without a twin it is not asked again where the answer is lost, as nobody knows whether the change was made.
        The other one of a pair does know.

        Args:
            addresses: returns what stands under the name that is being registered.
        """
        self._prepare()
        if self.away is None:
            answer = RemoteMethod(self.current, method)(*args, **options)
        else:
            answer = self._try_all(method, args, options, addresses)
        self._learn_if_due()
        return answer

    def _try_all(
        self, method: str, args: tuple[Any, ...], options: dict[str, Any],
        addresses: Callable[[], Iterable[object]] | None,
    ) -> Any:  # fmt: skip
        until = time.monotonic() + FAILOVER_SECONDS
        unsure = False
        for attempt in range(1_000_000):
            core = self.current
            try:
                return self._try_one(core, method, args, options)
            except NamingError as exc:
                uri = args[1] if len(args) > 1 else None
                if unsure and addresses and was_made_before(method, exc, uri, addresses):
                    return None
                raise
            except (ConnectionDeniedError, UnknownObjectError):
                raise
            except (ProtocolError, ServerBusyError) as exc:
                self._leave(core)
                if time.monotonic() >= until or _is_over(core, exc):
                    raise
                unsure |= bool(getattr(exc, "maybe_executed", False))
            if attempt % 2:
                hub.sleep(ROUND_SECONDS)
        raise AssertionError("the loop returns or raises")

    def _try_one(self, core: Core, method: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if core.timeout is not None:
            return RemoteMethod(core, method)(*args, **options)
        with deadline(TRY_SECONDS):
            return RemoteMethod(core, method)(*args, **options)

    # -- moving ----------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        now = time.monotonic()
        if self.current is not self.home and now - self._moved_at >= RETURN_SECONDS and not self._looking_home:
            self._looking_home = True
            self._moved_at = now
            hub.spawn_in(hub.current_state(), self._look_home)

    def _learn_if_due(self) -> None:
        """Ask for the twin now and then, a server that has just answered; what goes wrong is nobody's concern."""
        now = time.monotonic()
        if now - self._learned_at < LEARN_SECONDS:
            return
        self._learned_at = now
        try:
            self.know_twin(self._try_one(self.current, "twin", (), {})[1])
        except Exception:
            self._learned_at = now - LEARN_SECONDS + RETURN_SECONDS

    def _look_home(self) -> None:
        try:
            with deadline(TRY_SECONDS):
                RemoteMethod(self.home, "ping")()
            self._go(self.home)
        except PyroError:
            pass  # It is not back; look again later.
        finally:
            self._looking_home = False

    def _leave(self, core: Core) -> None:
        """Use the other way, unless somebody else has changed it meanwhile."""
        if self.current is core and self.away is not None:
            self._go(self.away if core is self.home else self.home)

    def _go(self, core: Core) -> None:
        if self.current is not core:
            self.current = core
            self._moved_at = time.monotonic()
            self._use(core)


def _is_over(core: Core, exc: PyroError) -> bool:
    """Tell whether the caller's own time is over, so that it wants no other try."""
    scope = current_scope()
    if scope is not None and scope.deadline is not None and time.monotonic() >= scope.deadline:
        return True
    return core.timeout is not None and isinstance(exc, TimeoutError)
