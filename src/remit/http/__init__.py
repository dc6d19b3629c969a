"""The HTTP API, whichever server or gateway carries it."""
