"""A customer of all banks that there are: has an account at each, and moves money from the first to the last.

`python examples/bank/customer.py`, while two or more of bank.py run.
"""

from decimal import Decimal

from banking import BankError

import gpyro


def transfer(amount, source, target):
    """Move Anna's money. If the other bank says no, it goes back to where it came from.

    Where the connection is lost meanwhile it stays open whether it has arrived: that error is not caught here.
    """
    source.withdraw("Anna", amount)
    try:
        target.deposit("Anna", amount)
    except BankError:
        source.deposit("Anna", amount)
        raise


ns = gpyro.naming.NameServerLocator().getNS()
banks = {name: gpyro.Proxy(f"PYRONAME://:Banks.{name}") for name, _ in sorted(ns.list(":Banks"))}
if len(banks) < 2:
    raise SystemExit("There is only one bank; start another one.")

for name, bank in banks.items():
    bank.open_account("Anna")
    bank.deposit("Anna", Decimal("100.00"))
    print(f"Anna has {bank.balance('Anna')} at {name}.")
first, *_, last = banks.values()

transfer(Decimal("30.00"), first, last)
print(f"After the transfer she has {first.balance('Anna')} and {last.balance('Anna')}.")

try:
    transfer(Decimal("500.00"), first, last)
except BankError as exc:
    print(f"{type(exc).__name__}: {exc}")

print(f"She closes her last account, and takes {last.close_account('Anna')} home.")
try:
    transfer(Decimal("10.00"), first, last)
except BankError as exc:
    print(f"{type(exc).__name__}: {exc}")
print(f"So her first account still holds {first.close_account('Anna')}, and she takes that home too.")
