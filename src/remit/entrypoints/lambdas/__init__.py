"""The Lambda functions. Each is an entry point to the same API and the same use cases.

    validation   requests to /validate
    processing   requests to /process and /payments, and the messages of the failure queue
    delivery     new messages of the table's stream, and a schedule for the regular jobs
    health       requests to /health, and a schedule for the health monitor
    operator     operators' jobs in the network of a private database

Each module has one `handler`, and imports only what its function needs.
"""
