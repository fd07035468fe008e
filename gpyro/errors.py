"""Every exception that gpyro raises, in one tree that answers "whose fault is it?".

    PyroError
    +-- URIError                    caller: an address is not one of the forms
    +-- NamingError                 caller: a name is not right, taken, or not there; or no name server
    +-- SerializationError          caller: a value cannot travel (also a TypeError)
    +-- ConfigurationError          caller: a setting has a value that it cannot have (also a ValueError)
    +-- PatternError                caller: a pattern is not right, or could take too long (also a ValueError)
    +-- EventError                  caller: a subject is not right, or there is no such subscription
        +-- EventQueueFullError     peer:   a subscriber did not take its events in time
    +-- DaemonError                 caller: a daemon is used in a way it does not allow
    +-- AccessDeniedError           caller: it may not do that here; whoever runs the server can allow it
    +-- StorageError                host:   the place where names or events are kept failed, or is damaged
    +-- NoModuleError               peer:   a class that this side does not know
    +-- RemoteError                 peer:   the remote object raised something this side has no class for
    +-- ServerBusyError             peer:   it refused the call unstarted, try again later
        +-- DeadLockError           caller: calls wait for each other's SynchronizedObjBase
    +-- ProtocolError               network or peer: the conversation broke
        +-- LocalProtocolError      gpyro:  this side broke the rules of the wire
        +-- RemoteProtocolError     peer:   the other side broke the rules of the wire
        +-- UnknownObjectError      caller: no such object, method or attribute at that address
        +-- ConnectionDeniedError   peer:   it does not let us in
        +-- ConnectionClosedError   network: the connection is gone (maybe_executed tells what is known)
            +-- TimeoutError        caller: the time that was allowed is over

    CallCancelled (BaseException)   raised inside a remote method whose caller gave up

Names that Pyro 3 has keep their place under each other. Source: Pyro 3 manual, chapter 10.
"""

from __future__ import annotations

__all__ = [
    "AccessDeniedError",
    "CallCancelled",
    "ConfigurationError",
    "ConnectionClosedError",
    "ConnectionDeniedError",
    "DaemonError",
    "DeadLockError",
    "EventError",
    "EventQueueFullError",
    "LocalProtocolError",
    "NamingError",
    "NoModuleError",
    "PatternError",
    "ProtocolError",
    "PyroError",
    "RemoteError",
    "RemoteProtocolError",
    "SerializationError",
    "ServerBusyError",
    "StorageError",
    "TimeoutError",
    "URIError",
    "UnknownObjectError",
]


class PyroError(Exception):
    """The base of every error that gpyro raises."""

    #: Lines of the remote traceback, oldest call first; None when the error was raised on this side.
    remote_stacktrace: list[str] | None = None


class URIError(PyroError):
    """An address is not one of the forms that gpyro knows."""


class NamingError(PyroError):
    """A name is malformed, taken or not there, or no name server answers.

    `reason` is Pyro's own text for it, `name` the full name that it is about; both are empty where there is none.
    """

    reason: str = ""
    name: str = ""


class SerializationError(PyroError, TypeError):
    """A value cannot travel; the message names the type, the path to it and the way out."""


class ConfigurationError(PyroError, ValueError):
    """A setting has a value that it cannot have; the message names item, value and what is allowed."""


class PatternError(PyroError, ValueError):
    """A pattern is malformed, too long, or could take too long to match; the message names it and the way out."""


class EventError(PyroError):
    """A subject is not right, or a subscription is not there or not the caller's; the message names it."""


class EventQueueFullError(EventError):
    """A subscriber's queue of events is full, and its policy does not allow to drop any.

    Where a publisher gets it, all other subscribers have had the event, unless the message says otherwise; where
    a subscriber does, the event server has ended its subscription.
    """


class DaemonError(PyroError):
    """A daemon cannot start, or is used in a way that it does not allow."""


class AccessDeniedError(PyroError):
    """No rule lets this caller do that; nothing of the call was run.

    The message names who called, what for, and how it can be granted.
    """


class StorageError(PyroError):
    """The place where names or events are kept did not take a change, which is undone; or it is damaged, or too
    new."""


class NoModuleError(PyroError):
    """A value of a class that is not registered on this side was received."""


class RemoteError(PyroError):
    """The remote object raised an exception whose class is not known on this side.

    Each such class becomes a subclass of this one that carries its name, made when it is first met.
    """

    #: Dotted name of the exception's class at the remote side.
    remote_type: str = ""


class ServerBusyError(PyroError):
    """The server refused the call before it was started; it is safe to try again later."""


class DeadLockError(ServerBusyError):
    """Calls on objects of `SynchronizedObjBase` wait for each other; this one gave way, and was not started.

    A method that is running gets it out of an outgoing call too, when what that led to does not leave the object.

    `chain` names the calls as far as they are known: each waits for the next one, the last for the first.
    """

    chain: tuple[str, ...] = ()


class ProtocolError(PyroError):
    """The conversation with the other side broke."""


class LocalProtocolError(ProtocolError):
    """This side was about to break the rules of the wire; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The other side broke the rules of the wire; the connection is closed."""


class UnknownObjectError(ProtocolError):
    """There is no such object at that address."""


class ConnectionDeniedError(ProtocolError):
    """The other side refused the connection; `code` is one of Pyro's four reasons.

    Source: Pyro 3 manual, chapter 9; Pyro.constants.DENIED_*.
    """

    UNSPECIFIED = 0
    SERVERTOOBUSY = 1
    HOSTBLOCKED = 2
    SECURITY = 3

    REASONS = {
        UNSPECIFIED: "unspecified reason",
        SERVERTOOBUSY: "server too busy",
        HOSTBLOCKED: "host blocked",
        SECURITY: "security reasons",
    }

    def __init__(self, message: str = "", code: int = UNSPECIFIED) -> None:
        super().__init__(message or self.REASONS.get(code, self.REASONS[self.UNSPECIFIED]))
        self.code = code


class ConnectionClosedError(ProtocolError):
    """The connection is gone.

    `maybe_executed` is False when the call provably never started and may be sent again, and True
    when the request had left and its fate is unknown.
    """

    maybe_executed: bool = False

    def __init__(self, *args: object, maybe_executed: bool = False) -> None:
        super().__init__(*args)
        self.maybe_executed = maybe_executed


class TimeoutError(ConnectionClosedError):
    """The time that was allowed for a call or a connect is over.

    Source: Pyro 3 makes it a ConnectionClosedError; the connection itself stays usable here.
    """


class CallCancelled(BaseException):
    """Raised inside a remote method whose caller gave up or whose deadline has passed.

    A BaseException, so that `except Exception` in user code does not swallow it.
    """
