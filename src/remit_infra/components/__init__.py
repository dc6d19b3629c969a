"""What the Pulumi topologies are made of: each part makes the resources that live and die together.

A part takes names and values, never another tool's types, and gives what the next part needs.
"""
