"""All services in a window; what is written on the board from elsewhere is shown there.

`python examples/allinone/tk_window.py`, then client.py. No `gpyro ns` has to run for it.
"""

import signal
import tkinter

import services

window = tkinter.Tk()
window.title("board")
window.protocol("WM_DELETE_WINDOW", window.quit)
label = tkinter.Label(window, width=40, height=5)
label.pack()
board, servers = services.start(show=lambda text: label.config(text=text))
sockets = {sock: server for server in servers for sock in server.getServerSockets()}


def serve(sock, mask):
    sockets[sock].handleRequests()
    if not board.is_open:
        window.quit()


def look_for_signals():
    """Python sees ctrl-C only when some Python is run."""
    window.after(200, look_for_signals)


for sock in sockets:
    window.createfilehandler(sock, tkinter.READABLE, serve)
signal.signal(signal.SIGINT, lambda number, frame: window.after(0, window.quit))
look_for_signals()
print("The board is ready; ctrl-C ends it, and so does closing the window.")
window.mainloop()
for sock in sockets:
    window.deletefilehandler(sock)
services.end(servers)
