"""What banks and their customers both know: the ways in which a bank says no.

Registered here, they arrive at the customer as what they are, and can be caught by their class.
"""

import gpyro


class BankError(Exception):
    """The bank has refused, and nothing has changed there."""


@gpyro.register
class NoSuchAccount(BankError):
    pass


@gpyro.register
class AccountExists(BankError):
    pass


@gpyro.register
class NotEnoughMoney(BankError):
    pass
