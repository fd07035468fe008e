"""Changes that were asked for twice, because the answer to the first request was lost.

Whether the first one was made shows in what the second one fails with: an address contains an id that nobody else
has, so a name that is taken by just this address was taken by the first request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gpyro.errors import NamingError
from gpyro.names import Reason

__all__ = ["was_made_before"]

#: Method, of a storage or of a caller: with which reason the second request fails if the first one was made.
_FAILS_WITH = {
    "register": Reason.NAME_EXISTS,
    "unregister": Reason.NAME_NOT_FOUND,
    "createGroup": Reason.GROUP_EXISTS,
    "create_group": Reason.GROUP_EXISTS,
    "deleteGroup": Reason.GROUP_NOT_FOUND,
    "delete_group": Reason.GROUP_NOT_FOUND,
    "open_lease": Reason.LEASE_EXISTS,
    "close_lease": Reason.LEASE_OVER,
}


def was_made_before(
    method: str, error: NamingError, uri: object, addresses: Callable[[], Iterable[object]]
) -> bool:
    """Tell whether the error of a second request shows that the first one was made.

    Args:
        uri: the address that `register` was given.
        addresses: returns those that stand under the name now.
    """
    if _FAILS_WITH.get(method) != error.reason:
        return False
    if method != "register":
        return True
    try:
        return str(uri) in {str(address) for address in addresses()}
    except NamingError:
        return False
