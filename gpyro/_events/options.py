"""What a subscriber may ask for, and whether it may: bounds, policy, the reliable queue and whose that is."""

from __future__ import annotations

from typing import Any, NamedTuple

from gpyro._events.mailbox import BLOCK, DROP_NEW, POLICIES
from gpyro.configuration import Settings
from gpyro.errors import AccessDeniedError, EventError
from gpyro.eventrecords import QueueRecord

__all__ = ["QUEUE_FACTOR", "Options", "check_name", "check_owner"]

#: Longest name of a queue, and longest label of a subscriber, which is cut there.
MAX_NAME_LENGTH, MAX_LABEL_LENGTH = 255, 100
#: Times es_queuesize and es_queue_bytes that a reliable queue holds if nobody says otherwise: it has to last while
#: nobody is there.
QUEUE_FACTOR = 10
#: Largest bound that a subscriber may ask for, as that of es_queuesize.
MAX_QUEUESIZE = 10_000_000
#: When an event that is not acknowledged goes out again, by default, at the earliest and at the latest.
REDELIVER_SECONDS, MIN_REDELIVER_SECONDS, MAX_REDELIVER_SECONDS = 30.0, 0.5, 86400.0

KNOWN = ("label", "policy", "block_seconds", "queuesize", "queue", "redeliver_seconds")


class Options(NamedTuple):
    """How one subscriber wants its events; `queue` is the name of a reliable queue, or None."""

    label: str
    policy: str
    block_seconds: float
    queuesize: int
    queue: str | None
    redeliver_seconds: float
    #: Those that were given, for a queue that exists already.
    given: frozenset[str]

    @classmethod
    def of(cls, given: Any, settings: Settings) -> Options:
        """Read what a caller has sent; what it leaves open is as the settings have it.

        Raises:
            EventError: something in it is not right.
        """
        if not isinstance(given, dict):
            raise EventError(f"options are a dict, not {type(given).__name__}")
        given = {key: value for key, value in given.items() if value is not None}
        unknown = [key for key in given if key not in KNOWN]
        if unknown:
            raise EventError(f"{unknown[0]!r} is no option of a subscriber; there are {', '.join(KNOWN)}")
        policy = given.get("policy", BLOCK if settings.es_blockqueue else DROP_NEW)
        if policy not in POLICIES:
            raise EventError(f"policy {policy!r} is not one of {', '.join(POLICIES)}")
        queue = given.get("queue")
        if queue is not None:
            check_name(queue)
            if policy != BLOCK and "policy" in given:
                raise EventError(f"a reliable queue drops nothing, so its policy is {BLOCK!r}, not {policy!r}")
        size = min(settings.es_queuesize * (1 if queue is None else QUEUE_FACTOR), MAX_QUEUESIZE)
        seconds = settings.es_block_seconds
        return cls(
            _text(given.get("label", "?"))[:MAX_LABEL_LENGTH],
            policy,
            # Publishers wait for no subscriber longer than the server's own setting says.
            _number("block_seconds", given.get("block_seconds", seconds), 0, seconds),
            int(_number("queuesize", given.get("queuesize", size), 1, MAX_QUEUESIZE, whole=True)),
            queue,
            _number(
                "redeliver_seconds", given.get("redeliver_seconds", REDELIVER_SECONDS), MIN_REDELIVER_SECONDS,
                MAX_REDELIVER_SECONDS,
            ),
            frozenset(given),
        )  # fmt: skip

    def new_record(self, owner: str | None, created: float) -> QueueRecord:
        """Return the record of a queue that is made so."""
        assert self.queue is not None
        return QueueRecord(self.queue, owner, created, self.queuesize, self.redeliver_seconds)

    def changed(self, record: QueueRecord) -> QueueRecord:
        """Return the record of a queue that is there, with what was given changed."""
        if "queuesize" in self.given:
            record = record._replace(limit=self.queuesize)
        if "redeliver_seconds" in self.given:
            record = record._replace(redeliver_seconds=self.redeliver_seconds)
        return record

    def changes(self, record: QueueRecord) -> bool:
        """Tell whether something of it was given otherwise."""
        return self.changed(record) != record


def check_name(name: Any) -> str:
    """Return the name of a queue.

    Raises:
        EventError: it can be none.
    """
    if not isinstance(name, str):
        raise EventError(f"the name of a queue is a text, not {type(name).__name__}")
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise EventError(
            f"the name of a queue has 1 to {MAX_NAME_LENGTH} printable characters, not {len(name)}: {name[:60]!r}"
        )
    return name


def check_owner(record: QueueRecord, identity: str | None) -> None:
    """See that a queue is its caller's.

    Raises:
        AccessDeniedError: it is somebody else's.
    """
    if record.owner != identity:
        raise AccessDeniedError(
            f"the queue {record.name!r} belongs to {record.owner or 'callers without an identity'}, not to "
            f"{identity or 'one without an identity'}; take another name"
        )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise EventError(f"a label is a text, not {type(value).__name__}")
    return value if value.isprintable() else ascii(value)


def _number(name: str, value: Any, low: float, high: float, whole: bool = False) -> float:
    kinds = (int,) if whole else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
        kind = "whole number" if whole else "number"
        raise EventError(f"{name}={value!r}; it is a {kind} from {low:g} to {high:g} at this event server")
    return float(value)
