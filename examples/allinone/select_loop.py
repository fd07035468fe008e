"""All services in a loop around select.

`python examples/allinone/select_loop.py`, then client.py. No `gpyro ns` has to run for it.
"""

import select
import signal

import services

board, servers = services.start(show=print)
signal.signal(signal.SIGINT, lambda number, frame: board.close())
print("The board is ready; ctrl-C ends it.")
while board.is_open:
    of_socket = {sock: server for server in servers for sock in server.getServerSockets()}
    # The program's own sockets would stand here too. Once a second, as ctrl-C does not end select.
    readable, _, _ = select.select(list(of_socket), [], [], 1)
    for sock in readable:
        of_socket[sock].handleRequests()
services.end(servers)
