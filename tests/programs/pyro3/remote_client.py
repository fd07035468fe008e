"""A client with Pyro.ext.remote."""

from Pyro.ext import remote


class Listener:
    def hear(self, account):
        return "heard of %s, who has %d" % (account.owner, account.balance)


bank = remote.get_remote_object(":Default.bank")
print("bank", bank.name)
account = bank.account("irmen")
print("deposit", account.deposit(100), account.deposit(11), account.balance)
print("same", bank.is_ours(account), bank.account("irmen") == account)
print("all", [each.owner for each in bank.all()])
account.balance = 5
print("balance", bank.account("irmen").balance)
try:
    account.deposit(-1)
except remote.Error as x:
    print("error", x)
print("callback", bank.tell(Listener()))
bank.end()
