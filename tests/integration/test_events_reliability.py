"""Subscribers are frozen, the event server and its workers are killed: no event is lost, or its loss is told.

The same as R19 and R20 of `python -m benchmarks.reliability`, in small. Only counts are looked at.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.reliability.exactly import PUBLISHERS, kill, publish_all
from benchmarks.reliability.frozen import FROZEN, POLICIES, Found, Size, freeze

SIZE = Size(parts=1, others=6, rate=200.0, seconds=1.5, calm=0.3, queue=30, block_seconds=0.2)


def check_others(found: Found) -> None:
    """See that those who were not frozen got everything, in order."""
    published = found.paced["published"]
    for one in found.others:
        assert one["got"] == [published] * SIZE.others
        assert (one["wrong"], sum(one["told"]), one["unknown"], one["ended"]) == (0, 0, 0, [])


@pytest.mark.parametrize("policy", [policy for policy in POLICIES if policy != "disconnect"])
def test_frozen_subscribers_are_told_how_many_events_they_lost_and_others_lose_none(policy: str) -> None:
    found = freeze(policy, SIZE)

    check_others(found)
    published, frozen = found.paced["published"], found.frozen
    assert [got + told for got, told in zip(frozen["got"], frozen["told"], strict=True)] == [published] * FROZEN
    assert sorted(one["dropped"] for one in found.described) == sorted(frozen["told"])
    assert min(frozen["told"]) > 0
    assert (frozen["wrong"], frozen["unknown"], frozen["ended"]) == (0, 0, [])
    assert (found.paced["full"] > 0) == (policy == "block")


def test_frozen_subscribers_whose_policy_is_disconnect_are_told_that_it_is_over() -> None:
    found = freeze("disconnect", SIZE)

    check_others(found)
    assert len(found.frozen["ended"]) == FROZEN
    assert f"the limits are {SIZE.queue} (es_queuesize)" in found.frozen["ended"][0]
    assert found.paced["full"] == 0
    assert found.described == []


def test_fifty_publishers_and_subscribers_that_nap_lose_nothing_and_double_nothing() -> None:
    count, single, everything = 3000, 12, 3

    found = publish_all(count, single, everything)

    assert found["got"] == count // 10 * single + count * everything
    assert {name: found[name] for name in ("lost", "doubled", "late", "told")} == {
        "lost": 0, "doubled": 0, "late": 0, "told": 0,
    }  # fmt: skip
    assert count % PUBLISHERS == 0


def test_what_a_reliable_queue_accepted_is_handled_though_server_and_workers_are_killed(tmp_path: Path) -> None:
    kept = kill(tmp_path, seconds=5.0, pause=1.0, publishers=10, workers=2)

    assert kept.accepted > 0 and kept.servers > 0 and kept.workers > 0
    assert (kept.missing, kept.left) == (0, 0)
