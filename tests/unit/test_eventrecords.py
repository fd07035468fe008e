"""The records of events."""

from __future__ import annotations

from gpyro.eventrecords import EventRecord


def test_record_counts_its_message_and_its_subject_and_tells_both() -> None:
    record = EventRecord("Stock.sun", "stock.sun", 1.0, "p", b"12345", 7)
    other = EventRecord("Stock.sun", "stock.sun", 1.0, "p", b"123456789", 8)
    assert other.size - record.size == 4
    assert repr(record) == "<EventRecord 7 'Stock.sun', 5 bytes>"
