"""AWS on this machine: an emulator, a database, a cache and tasks as processes. For `remit emulate`
and for tests.
"""
