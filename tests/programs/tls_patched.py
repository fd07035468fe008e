"""A daemon and a proxy over TLS, in a process that is patched first, late, or never.

Words: first, late or never; then the directory with what `gpyro certs init` made.
"""

import sys

when, folder = sys.argv[1:]
if when == "first":
    from gevent import monkey

    monkey.patch_all()

import ssl
import threading

import gpyro

standard = ssl.SSLContext
config = gpyro.TLSConfig(
    certificate=f"{folder}/host.pem", ca=f"{folder}/ca.pem", client_certificates="required"
)
config.server_context()
if when == "late":
    from gevent import monkey

    monkey.patch_all()
elif when == "never":
    assert ssl.SSLContext is standard, "something was patched"


class Plain:
    def echo(self, value):
        return value


daemon = gpyro.Daemon("PYROSSL", port=0, norange=True, tls=config)
uri = daemon.connect(Plain())
server = threading.Thread(target=daemon.requestLoop)
server.start()
# A second config whose contexts are made now, and one connection for each of two threads.
proxy = gpyro.Proxy(
    uri,
    tls=gpyro.TLSConfig(certificate=f"{folder}/client.pem", ca=f"{folder}/ca.pem", server_hostname="localhost"),
)
print("echoed", len(proxy.echo(b"x" * 1_000_000)), flush=True)
other = threading.Thread(target=lambda: print("thread", proxy.echo("too"), flush=True))
other.start()
other.join()
daemon.shutdown()
server.join()
print("ended", flush=True)
