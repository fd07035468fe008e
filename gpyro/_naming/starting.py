"""What the starters of the servers that come with gpyro share: beginning, loop, waiting, end."""

from __future__ import annotations

import errno
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from gpyro import hub
from gpyro._naming.urifile import UriFile
from gpyro.configuration import config
from gpyro.daemon import Daemon
from gpyro.errors import DaemonError, NamingError, PyroError, StorageError
from gpyro.uri import PyroURI

if TYPE_CHECKING:
    from gpyro.auth import DefaultConnValidator

__all__ = ["Starter", "as_identifications", "make_groups"]

#: How often `waitUntilStarted` looks. It may be called from another thread than the one that starts, or from a
#: greenlet of the same one; looking now and then is what serves both.
LOOK_SECONDS = 0.01


class Closable(Protocol):
    """What a server keeps things in."""

    def close(self) -> None:
        """Let go of it; StorageError if that did not end well."""


class Starter(ABC):
    """Starts a server in this process; a subclass says which, in `initialize`.

    Once that has opened the daemon, whatever fails in it is followed by `_end`. What is in `_storage` is closed
    last.

    Resources: as the subclasses say; all of them end with `_end`, which may be called again.
    """

    #: What it starts, as it is printed.
    title: ClassVar[str]
    #: What is raised where somebody waits for one that could not start.
    failure: ClassVar[type[PyroError]] = DaemonError

    def __init__(self, identification: object = None) -> None:
        self.identification = identification
        self.daemon: Daemon | None = None
        self.uri: PyroURI | None = None
        self._storage: Closable | None = None
        self._file: UriFile | None = None
        self._begun = False
        self._started = False
        #: `start` runs, whose loop says when callers are served.
        self._starting = False
        self._looping = False
        self._ending = False
        self._failure: BaseException | None = None

    def __repr__(self) -> str:
        state = "not started" if self.uri is None else f"ended, was {self.uri}" if self._ending else str(self.uri)
        return f"<{type(self).__name__} {state}>"

    # -- the beginning ---------------------------------------------------------------------------------------

    @abstractmethod
    def initialize(self, *args: Any, **options: Any) -> None:
        """Get the server ready; it answers as soon as its requests are handled."""

    def start(self, *args: Any, **options: Any) -> None:
        """Run the server until it is ended; the arguments and the errors are those of `initialize`."""
        self._starting = True
        try:
            self.initialize(*args, **options)
            assert self.daemon is not None
            self._looping = True
            # The loop asks its condition before it first waits, with its signal handlers in place.
            self.daemon.requestLoop(self._note_started, timeout=None)
            if not self._ending:
                print("Shutting down on a signal.")
        except BaseException as exc:
            self._failure = exc
            raise
        finally:
            self._looping = False
            self._end()
        print(f"{self.title} gracefully stopped.", flush=True)

    def _note_initialized(self) -> None:
        """Whoever serves with a loop of his own has started it herewith. Source: Pyro 3.16, observed."""
        if not self._starting:
            self._started = True

    def _note_started(self) -> bool:
        if not self._begun:
            self._begin()
            print(f"{self._full_title()} started.", flush=True)
            self._begun = self._started = True
        return True

    def _begin(self) -> None:  # noqa: B027 (there may be nothing to do)
        """Begin what the server does beside answering, in the thread that serves callers."""

    def _full_title(self) -> str:
        return self.title

    def _check_unused(self) -> None:
        if self.daemon is not None:
            raise DaemonError(f"this starter has been used before, for {self.uri}; make a new one")

    def _open_daemon(
        self, hostname: str, port: int | None, norange: bool, insecure_no_auth: bool, hint: str,
        validator: DefaultConnValidator | None = None,
    ) -> Daemon:  # fmt: skip
        """Listen.

        Raises:
            DaemonError: it cannot; where the port is in use, the message has the hint, who may have it.
        """
        try:
            self.daemon = Daemon(
                host=hostname, port=port, norange=norange, insecure_no_auth=insecure_no_auth,
                identifications=as_identifications(self.identification), validator=validator,
                # Ctrl-C is the orderly end of a starter, in Pyro too.
                config=config.snapshot(as_pyro3=False),
            )  # fmt: skip
            return self.daemon
        except DaemonError as exc:
            if norange and getattr(exc.__cause__, "errno", None) == errno.EADDRINUSE:
                raise DaemonError(
                    f"{self.title} was not started: port {port} of {hostname or 'localhost'} is in use, {hint}; "
                    "choose another port with -p"
                ) from exc
            raise

    def _write_file(self, path: str, setting: str) -> bool:
        """Leave the address in the file of a setting, and tell whether that was possible."""
        assert self.uri is not None
        self._file = UriFile(path, self.uri)
        try:
            self._file.write()
        except OSError as exc:
            print(f"WARNING: the URI could not be written to {path}: {exc.strerror} ({setting})")
            return False
        return True

    def waitUntilStarted(self, timeout: float | None = None) -> bool:
        """Wait until `start`, which runs in another thread or greenlet, serves callers.

        After `initialize`, for a loop of the program's own, it returns at once.

        Returns:
            True; False when that took longer than `timeout` seconds.

        Raises:
            NamingError, DaemonError: it could not start.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while not self._started:
            if self._failure is not None:
                text = f"the {self.title.lower()} could not start: {self._failure}"
                raise self.failure(text) from self._failure
            if until is not None and time.monotonic() >= until:
                return False
            hub.sleep(LOOK_SECONDS)
        return True

    # -- a loop of the program's own -------------------------------------------------------------------------

    def getServerSockets(self) -> list[Any]:
        """Return what a foreign loop selects on for reading; see `Daemon.getServerSockets`."""
        if self.daemon is None or self._ending:
            return []
        return self.daemon.getServerSockets()

    def handleRequests(self, timeout: float | None = None) -> None:
        """Serve what is pending; see `Daemon.handleRequests`.

        Raises:
            DaemonError: `initialize` has not been called.
        """
        if self.daemon is None:
            raise DaemonError(f"there is no {self.title.lower()} yet; call initialize() first")
        if not self._ending:
            self._note_started()
            self.daemon.handleRequests(timeout)
        if self._ending:
            self._end()

    # -- the end ---------------------------------------------------------------------------------------------

    def _shut_down(self) -> None:
        """End the server; safe from any thread."""
        self._request_end()
        if not self._looping:
            self._end()

    def _request_end(self) -> None:
        """Let the loop end, from within one of its calls too."""
        self._ending = True
        if self.daemon is not None:
            self.daemon.shutdown()

    def _end(self) -> None:
        self._ending = True
        if self._file is not None:
            self._file.remove()
        self._leave()
        if self.daemon is not None:
            self.daemon.shutdown(True)
        if self._storage is not None:
            try:
                self._storage.close()
            except StorageError as exc:
                print(f"WARNING: {exc}")

    def _leave(self) -> None:  # noqa: B027 (there may be nothing to do)
        """End what the server does beside answering, before its daemon ends."""


def as_identifications(identification: object) -> list[object] | None:
    """Return what a daemon is to accept, of one identification, several, or none (None)."""
    if identification is None:
        return None
    return list(identification) if isinstance(identification, (list, tuple)) else [identification]


def make_groups(ns: Any, groups: Iterable[str]) -> None:
    """Make groups in a name server, which may have some of them; the outer ones come first."""
    for group in groups:
        try:
            ns.createGroup(group)
        except NamingError:
            # It is there; if it cannot be made, registering will say so.
            pass
