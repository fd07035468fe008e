"""Lets in only who knows a passphrase, and knows it itself: callers may be sure of whom they talk to.

    umask 077; echo "some long passphrase" > passphrase
    python examples/passphrases/server.py passphrase

Then client.py with the same file, and without.
"""

import argparse

import gpyro


class Vault:
    def open(self):
        return f"The vault is open for {gpyro.current_call.identity}."


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("file", metavar="FILE", help="holds the passphrase; only you can read it")
options = parser.parse_args()

passphrase = gpyro.auth.load_identification(options.file)
daemon = gpyro.Daemon(identifications=[gpyro.auth.Passphrase("staff", passphrase)])
daemon.useNameServer(gpyro.naming.NameServerLocator().getNS())
daemon.connect(Vault(), "vault")
print("The vault is guarded; ctrl-C ends it.")
daemon.requestLoop()
