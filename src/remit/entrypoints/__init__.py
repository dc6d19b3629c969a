"""Entry points: the server, the worker, the Lambda functions and the command line."""
