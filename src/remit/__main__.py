"""`python -m remit` is `remit`."""

from remit.entrypoints.cli import main

main()
