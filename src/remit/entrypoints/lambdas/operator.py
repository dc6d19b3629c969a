"""The payment-operator function: runs the jobs of `entrypoints/operator_jobs.py`."""

from remit.entrypoints.lambdas.runtime import make_handler
from remit.entrypoints.operator_jobs import OperatorJobs

handler = make_handler(OperatorJobs, OperatorJobs.__call__)
