"""The payment-operator function: an operator's jobs, in the database's network. See `jobs.py`."""

from remit.entrypoints.jobs import Operating
from remit.entrypoints.lambdas.runtime import make_handler

handler = make_handler(Operating, Operating.__call__)
