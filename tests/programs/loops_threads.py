"""Server and client as any threaded program has them; the first line is all that differs."""

import sys

KIND, *ROLE = sys.argv[1:]
if KIND == "patched":
    from gevent import monkey

    monkey.patch_all()

import threading
import time

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

    @gpyro.offload
    def nap(self, seconds):
        time.sleep(seconds)  # blocks its thread: that is what offloading is for
        return "slept"


def call(uri):
    proxy = gpyro.Proxy(uri)
    answers = []

    def work():
        for number in range(50):
            assert proxy.echo(number) == number
            answers.append(number)

    run_threads(work, 8)
    print(len(answers), "answers", flush=True)
    begin = time.monotonic()
    run_threads(lambda: proxy.nap(0.3), 8)
    print("naps together", time.monotonic() - begin < 2.0, flush=True)


def run_threads(work, count):
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if ROLE[:1] == ["serve"]:
    daemon = gpyro.Daemon(port=0, norange=True)
    print("serving", daemon.connect(Thing()), flush=True)
    daemon.requestLoop()
elif ROLE[:1] == ["call"]:
    call(ROLE[1])
    print("ended", flush=True)
else:
    names = Names()
    daemon = gpyro.Daemon(port=0, norange=True)
    daemon.useNameServer(names)
    uri = daemon.connect(Thing(), "thing")
    server = threading.Thread(target=daemon.requestLoop)
    server.start()
    call(uri)
    daemon.shutdown()
    server.join(20)
    print("names", names.names, flush=True)
    print("ended", flush=True)
