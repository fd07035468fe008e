"""Pickled messages under fire, as a daemon reads them that has a list of names.

    byte 0    the case: bit 0 arguments in place of a value, bit 1 narrow limits, bit 2 no references
    rest      the body, behind its first two bytes, which are always the same
"""

from __future__ import annotations

import collections
import decimal
from typing import Final

from gpyro._serializers.pickle_machine import PROTOCOL
from gpyro._serializers.pickle_rules import PickleRules
from gpyro._serializers.pickling import PickleCodec
from tests.fuzz.codec_target import CODECS, Plain, Point, Words, attempt
from tests.fuzz.source import Source

__all__ = ["CODEC", "pickled"]

RULES: Final = PickleRules([Point, Plain, Words, collections.OrderedDict, decimal.Decimal])
PICKLERS: Final = [PickleCodec(one, RULES) for one in CODECS]
CODEC: Final = PICKLERS[0]


def pickled(data: bytes) -> None:
    """Read a body twice; nothing but the errors that are announced comes of it.

    Raises:
        AssertionError: a promise is broken. Anything else is a finding as well.
    """
    source = Source(data)
    case = source.byte()
    body = PROTOCOL + source.rest()
    one = PICKLERS[case >> 1 & 3]
    decode = one.decode_arguments if case & 1 else one.decode_value
    failed, value = attempt(lambda: decode(body))
    assert failed is attempt(lambda: decode(memoryview(body)))[0], "the same body was judged twice"
    if failed is None and case & 1:
        args, kwargs = value
        assert type(args) is list and type(kwargs) is dict and all(type(name) is str for name in kwargs)
