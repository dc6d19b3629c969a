"""The Pulumi components: each makes the resources that are created and deleted together.

A component gets the context, plain values and other components, and offers what the next one needs.
"""
