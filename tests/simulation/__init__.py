"""The simulated world: the service's own code in one event loop of virtual time, against an
adversary that draws everything that can go wrong from a seed.

    loop.py        an event loop on which time passes only while nothing can run
    adversary.py   what can go wrong, how often in this seed, and how often it did
    bank.py        a processor with books of its own, behind a network
    processes.py   processes of the service that are slow, paused and killed, and their workers
    merchants.py   callers that repeat what was not answered, and remember every answer
    run.py         one seed from its first request to rest, and what must hold then
    __main__.py    many seeds; a violation is told as a story

The same seed gives the same run.
"""
