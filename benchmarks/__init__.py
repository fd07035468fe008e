"""gpyro beside its peers, measured on one machine in one run: `python -m benchmarks`.

Rooms, each importing only from those above it:

    model       works, results and the machine, as frozen dataclasses
    points      the scaling curves: the places on their axes, each a work
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
    progress    what a terminal shows meanwhile
    events      an event server: `python -m benchmarks.events`
    naming      a name server: `python -m benchmarks.naming`
    services    the works of these two in the one run
    halfload    latency at half of the most that a peer does
    curvetables curves to text (pure)
    plotdata    lines, bars, colours, places of labels (pure)
    plotting    draws them with matplotlib
    curves      scaling curves: `python -m benchmarks.curves`
    growth      what many calls leave behind: `python -m benchmarks.growth`
"""
