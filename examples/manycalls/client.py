"""Thousands of greenlets share one proxy, and so one connection. Each of them waits a second for its answer.

`python examples/manycalls/client.py`, while server.py runs.
"""

import argparse
import time

import gevent

import gpyro

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--calls", type=int, default=5000, metavar="N", help="how many (default: 5000)")
options = parser.parse_args()

desk = gpyro.Proxy("PYRONAME://desk")
begin = time.monotonic()
customers = [gevent.spawn(desk.serve, number) for number in range(options.calls)]
gevent.joinall(customers, raise_error=True)
seconds = time.monotonic() - begin
assert [customer.value for customer in customers] == list(range(options.calls))
print(f"{options.calls} customers were served in {seconds:.1f} seconds.")
print(f"As many as {desk.most_at_once()} were served at the same time.")
