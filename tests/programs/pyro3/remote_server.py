"""A server with Pyro.ext.remote: what it returns is passed by reference."""

import Pyro.ext.remote


class Account:
    def __init__(self, owner):
        self.owner = owner
        self.balance = 0

    def deposit(self, amount):
        if amount < 0:
            raise ValueError("negative amount %d" % amount)
        self.balance = self.balance + amount
        return self.balance


class Bank:
    def __init__(self):
        self.name = "Vault"
        self.accounts = {}

    def account(self, owner):
        return self.accounts.setdefault(owner, Account(owner))

    def is_ours(self, account):
        return account in self.accounts.values()

    def all(self):
        return [self.accounts[owner] for owner in sorted(self.accounts)]

    def tell(self, listener):
        return listener.hear(self.account("irmen"))

    def end(self):
        Pyro.ext.remote.interrupt()


Pyro.ext.remote.daemon_host = "localhost"
Pyro.ext.remote.verbose = 1
Pyro.ext.remote.provide_local_object(Bank(), ":Default.bank")
print("serving", flush=True)
print("ended", Pyro.ext.remote.handle_requests())
