"""The payment-operator function: an operator's jobs, in the database's network. See `jobs.py`."""

from remit.entrypoints.lambdas.runtime import make_handler
from remit.entrypoints.operator_jobs import OperatorJobs

handler = make_handler(OperatorJobs, OperatorJobs.__call__)
