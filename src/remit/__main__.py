"""`python -m remit` is `remit`."""

from remit.entrypoints.cli.main import main

main()
