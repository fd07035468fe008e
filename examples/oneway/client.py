"""Sends pages to a printer without waiting for any of them.

`python examples/oneway/client.py`, while server.py runs.
"""

import gpyro

printer = gpyro.Proxy("PYRONAME://printer")
printer._setOneway(["print_page"])

for number in range(1, 6):
    printer.print_page(number)
printer.print_page(0)  # fails at the printer, and nothing is heard of that here
print("All pages are on their way, and there is time for other things.")
print(printer.wait_for(5), "pages have been printed.")
