"""A bank with accounts in memory, in the group :Banks of the name server.

Start two, `python examples/bank/bank.py north` and the same with `south`, then customer.py.
"""

import argparse
from decimal import Decimal

from banking import AccountExists, NoSuchAccount, NotEnoughMoney

import gpyro


class Bank:
    """None of these methods waits for anything, so no two run at the same time, and no lock is needed."""

    def __init__(self, name):
        self._name = name
        self._balances = {}

    def open_account(self, owner):
        if owner in self._balances:
            raise AccountExists(f"{owner} has an account at {self._name} already")
        self._balances[owner] = Decimal(0)

    def close_account(self, owner):
        """Return what was left in it."""
        balance = self.balance(owner)
        del self._balances[owner]
        return balance

    def deposit(self, owner, amount):
        self._balances[owner] = self.balance(owner) + amount

    def withdraw(self, owner, amount):
        if amount > self.balance(owner):
            raise NotEnoughMoney(f"{owner} has {self.balance(owner)} at {self._name}, not {amount}")
        self._balances[owner] -= amount

    def balance(self, owner):
        if owner not in self._balances:
            raise NoSuchAccount(f"{owner} has no account at {self._name}")
        return self._balances[owner]


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("name", metavar="NAME")
options = parser.parse_args()

ns = gpyro.naming.NameServerLocator().getNS()
try:
    ns.createGroup(":Banks")
except gpyro.errors.NamingError:
    pass  # The other bank was faster.
daemon = gpyro.Daemon()
daemon.useNameServer(ns)
daemon.connect(Bank(options.name), f":Banks.{options.name}")
print(f"Bank {options.name} is open; ctrl-C closes it.")
daemon.requestLoop()
