"""The parts behind `gpyro.serializers`.

Read them in this order, each imports only from those before it:

    limits      the bounds, the wire's extension numbers, the small protocols between the parts
    keys        how many keys of one hash a container may hold
    registry    classes that travel by value
    standard    types of the standard library, each with its encoder and decoder
    buffers     bytes that travel beside the body, and numpy arrays
    faults      exceptions
    scan        how deep a message nests, without building it; the guard for an old ormsgpack
    encoder     objects to bytes: the fast pass and the walk
    decoder     bytes to objects: the fast pass and the careful one

Only where a daemon or proxy lists modules in `by_value`:

    program     which modules are the program's own
    byvalue     which plain classes travel without being registered, and how

Only where pickling was asked for:

    pickle_rules     which names a pickled message may use
    pickle_machine   reads a pickle as data, with those names
    pickling         pickled arguments and values; the only module that imports pickle
"""
