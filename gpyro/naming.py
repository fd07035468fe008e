"""The name server: objects and groups under hierarchical names, how it is found, and how it is started.

    ns = gpyro.naming.NameServerLocator().getNS()
    ns.register("our_object", uri)            # :Default.our_object
    ns.resolve(":Default.our_object")

`_naming/namespace` keeps the names, `_naming/server` makes a server of them, `_naming/persistent` keeps them in a
database, `_naming/rights` says who may look at and change them, `_naming/expiring` when leases end.
`_naming/client` is the caller's side, `_naming/locating` finds the server and `_naming/asking` asks for it by
broadcast. `_naming/starter` runs one, `_naming/starting` is what it shares with the event server's starter,
`_naming/broadcast` answers who asks, `_naming/announcing` decides whether it does, `_naming/joining` makes it one
of a pair (`pairing`), `_naming/plugins` has Pyro's security plugins, `_naming/urifile` is the file that tells
where it runs. `python -m gpyro.naming` is `gpyro ns`.

Source: Pyro 3 manual, chapter 5.
"""

from __future__ import annotations

from gpyro import seams
from gpyro._naming.broadcast import BCReqValidator, BroadcastServer
from gpyro._naming.client import NameServerProxy
from gpyro._naming.following import NameWatch
from gpyro._naming.locating import NameServerLocator, find_name_server
from gpyro._naming.meta import decode_meta, encode_meta
from gpyro._naming.persistent import PersistentNameServer
from gpyro._naming.plugins import load_guards
from gpyro._naming.resolving import resolve_uri
from gpyro._naming.rights import Rights, parse_rights
from gpyro._naming.server import NAMESERVER_NAME, NameServer
from gpyro._naming.starter import NameServerStarter
from gpyro._naming.urifile import read_uri_file
from gpyro._naming.watching import NameEvent
from gpyro.util import run_command

__all__ = [
    "NAMESERVER_NAME",
    "BCReqValidator",
    "BroadcastServer",
    "NameEvent",
    "NameServer",
    "NameServerLocator",
    "NameServerProxy",
    "NameServerStarter",
    "NameWatch",
    "PersistentNameServer",
    "Rights",
    "decode_meta",
    "encode_meta",
    "find_name_server",
    "load_guards",
    "parse_rights",
    "read_uri_file",
]

seams.resolve_name.fill(resolve_uri)

if __name__ == "__main__":
    run_command("ns")
