"""The command line: `remit …`."""
