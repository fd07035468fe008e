"""All services in an asyncio program, which goes on with its own tasks meanwhile.

`python examples/allinone/asyncio_loop.py`, then client.py. No `gpyro ns` has to run for it.
"""

import asyncio
import signal

import services


async def main():
    board, servers = services.start(show=print)
    closed = asyncio.Event()

    def serve(server):
        server.handleRequests()
        if not board.is_open:
            closed.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, closed.set)
    sockets = {sock: server for server in servers for sock in server.getServerSockets()}
    for sock, server in sockets.items():
        loop.add_reader(sock, serve, server)
    print("The board is ready; ctrl-C ends it.")
    await closed.wait()  # this is where the program's own work would be
    for sock in sockets:
        loop.remove_reader(sock)
    services.end(servers)


asyncio.run(main())
