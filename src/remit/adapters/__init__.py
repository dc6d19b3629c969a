"""Adapters: the implementations of the ports, in one package for each kind of dependency."""
