"""A name server with a database and its clients, run under strace; its log has what was asked and answered too.

    recorded_name_server.py NOTES CLIENTS CHANGES

Before each change one line `begin name address` is written to the file NOTES, after its answer one line
`done name address`; an address of `-` is no name any more. Each line is one system call.
"""

from __future__ import annotations

import os
import subprocess
import sys

import gevent

import gpyro

notes = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
clients, changes = int(sys.argv[2]), int(sys.argv[3])
database = os.path.join(gpyro.config.storage, "Pyro_NS_database", "names.sqlite")


def note(*words: str) -> None:
    os.write(notes, f"{' '.join(words)}\n".encode())


def work(ns: gpyro.naming.NameServerProxy, client: int) -> None:
    for number in range(changes):
        # Few names, so that each is written several times.
        name, address = f":Default.c{client}-{number % 5}", f"PYRO://127.0.0.1:7766/{client}-{number}"
        note("begin", name, address)
        ns.register(name, address, replace=True)
        note("done", name, address)
        if number % 3 == 2:
            note("begin", name, "-")
            ns.unregister(name)
            note("done", name, "-")


server = subprocess.Popen([sys.executable, "-m", "gpyro", "ns", "-r", "-d"], stdout=subprocess.PIPE, text=True)
assert server.stdout is not None
while "started" not in server.stdout.readline():
    pass
for first in (0, clients):
    ns = gpyro.naming.NameServerLocator().getNS("127.0.0.1", gpyro.config.ns_port)
    gevent.joinall([gevent.spawn(work, ns, first + client) for client in range(clients)], raise_error=True)
    ns._release()
    # Until the log has been emptied into the file, as it is when nothing is to be done.
    with gevent.Timeout(30):
        while os.stat(f"{database}-wal").st_size:
            gevent.sleep(0.01)
server.terminate()
assert server.wait() == 0
