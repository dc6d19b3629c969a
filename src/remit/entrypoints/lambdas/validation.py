"""The payment-validation function: requests to /validate."""

from remit.entrypoints.lambdas.proxy import Http
from remit.entrypoints.lambdas.runtime import make_handler

handler = make_handler(Http, Http.__call__)
