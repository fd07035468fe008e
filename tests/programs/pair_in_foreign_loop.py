"""The primary of a pair of name servers in a select loop of the program's own: PORT, the secondary's port."""

import select
import sys

import gpyro.naming

PORT, OTHER = map(int, sys.argv[1:])
starter = gpyro.naming.NameServerStarter()
starter.initialize("127.0.0.1", PORT, dontlookupother=True, role=(1, f"127.0.0.1:{OTHER}"))
print("up", flush=True)
while starter.getServerSockets():
    ready, _, _ = select.select(starter.getServerSockets(), [], [], 20)
    if ready:
        starter.handleRequests(0)
