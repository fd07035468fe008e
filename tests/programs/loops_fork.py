"""A process with a daemon and a connected proxy forks."""

import os
import sys
import warnings

KIND = sys.argv[1]
if KIND == "patched":
    from gevent import monkey

    monkey.patch_all()
warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on: a fork in a process with threads

import multiprocessing
import socket
import threading

import gevent

import gpyro


class Names:
    def __init__(self):
        self.names = []

    def register(self, name, uri):
        self.names.append(name)

    def unregister(self, name):
        self.names.remove(name)


class Thing(gpyro.ObjBase):
    def echo(self, value):
        return value

    def who(self):
        return str(gpyro.current_call.caller.addr)


def say(*words):
    print(*words, flush=True)


def child():
    say("child calls", proxy.echo("child"))
    say("child's connection is another one", proxy.who() != address)
    errors = []
    for use in (daemon.requestLoop, lambda: daemon.handleRequests(0), daemon.getServerSockets,
                lambda: daemon.connect(Thing()), lambda: daemon.disconnect(thing)):
        try:
            use()
        except gpyro.errors.DaemonError as exc:
            errors.append(str(exc))
    assert len(errors) == 5 and len(set(errors)) == 1, errors
    say("child's daemon:", errors[0].split("the daemon ")[1].split(";")[0].replace(str(os.getppid()), "PARENT"))
    daemon.shutdown(True)
    say("child's shutdown changed nothing", names.names == ["thing"] and "of process" in repr(daemon))
    own = gpyro.Daemon(port=0, norange=True)
    own.connect(thing)
    own.handleRequests(0)
    say("child's own daemon has the object", thing.getDaemon() is own)


other = gpyro.Daemon(port=0, norange=True)
uri = other.connect(Thing())
server = threading.Thread(target=other.requestLoop, daemon=True)
server.start()

names = Names()
daemon = gpyro.Daemon(port=0, norange=True)
port = daemon.port
daemon.useNameServer(names)
thing = Thing()
own_uri = daemon.connect(thing, "thing")
daemon.handleRequests(0)
proxy = gpyro.Proxy(uri)
address = proxy.who()


def fork():
    if KIND == "multiprocessing":
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join()
        return process.exitcode
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            child()
            status = 0
        finally:
            os._exit(status)
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        gevent.sleep(0.01)


if KIND == "from a thread":
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(fork()))
    thread.start()
    thread.join()
    say("child ended", outcome[0])
elif KIND == "inside a loop":
    outcome = []
    gevent.spawn(lambda: outcome.append(fork()))
    daemon.requestLoop(lambda: not outcome, 0.01)
    say("child ended", outcome[0])
else:
    say("child ended", fork())
say("parent's connection is the same", proxy.who() == address)
say("parent calls", proxy.echo("parent"))
call = gevent.spawn(lambda: gpyro.Proxy(own_uri).echo("parent"))
while not call.dead:
    daemon.handleRequests(0.05)
say("parent's daemon serves", call.value)
daemon.shutdown(True)
with socket.socket() as probe:
    say("port is free at the end", probe.connect_ex(("127.0.0.1", port)) != 0)
say("names", names.names)
