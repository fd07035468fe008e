"""What becomes of a server that is mistreated: `python -m benchmarks.reliability`.

Rooms, each importing only from those above it:

    report      what was counted, the figure to pass, what was measured; results to text (pure)
    server      the server under attack, and what it tells of itself
    callers     honest clients: one that keeps its connection, one that connects anew for each call
    garbage     R2: frames that are wrong
    dribble     R3: peers that send a byte a second
    churn       R5: callers that come and go
    guessing    R23: logins that fail
    bombs       R24: messages that mean to cost more than they look
    lanes       what a subscriber got of each publisher and subject, beside what it should have got (pure)
    eventing    events: a server, subscribers, publishers
    frozen      R19: a subscriber that is frozen
    exactly     R20: each event once and in order; with reliable queues at least once, whoever is killed
    stage       the processes of one attack, and how they are asked
    role        the process at the other end: `python -m benchmarks.reliability.role`
    runs        one function for each figure: starts the processes, makes the table

What a caller says by hand, and frames that are wrong, are the tests' own: tests/support/attackers.py.
"""
