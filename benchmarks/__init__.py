"""gpyro beside its peers, measured on one machine in one run: `python -m benchmarks`.

Rooms, each importing only from those above it:

    model       works, results and the machine, as frozen dataclasses
    works       the rows of the table: what is measured, with which payload
    stats       medians, quartiles, paired ratios (pure)
    goals       the figures that gpyro wants to reach (pure)
    table       results to text (pure)
    peer        what a peer offers: serve() in one process, connect() in another
    peers/      one file for each peer
    measuring   the timed loops, run in the client process
    worker      the process at the other end: `python -m benchmarks.worker`
    processes   starts workers, talks to them in JSON lines, always ends them
    rounds      interleaved rounds over many peers
    idle        many idle connections
    startup     imports, first call, command line
"""
