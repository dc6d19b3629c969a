"""Functions, containers, and what releases and scales them."""
