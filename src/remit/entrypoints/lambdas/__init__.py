"""AWS Lambda: each function is a thin way into the same API and the same use cases.

    validation   requests to /validate
    processing   requests to /process and /payments; the failure queue, whose steps it takes again
    delivery     the table's stream, whose messages it sends; the clock, for what was left
    health       requests to /health; the clock, for the monitor

Each module has one `handler` and imports only what its function needs.
"""
