"""Deployments in an account: made, followed, asked for their outputs, taken down."""
