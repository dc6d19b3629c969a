"""The payment-validation function: answers /validate."""

from remit.entrypoints.lambdas.proxy import ProxyApi
from remit.entrypoints.lambdas.runtime import make_handler

handler = make_handler(ProxyApi, ProxyApi.__call__)
