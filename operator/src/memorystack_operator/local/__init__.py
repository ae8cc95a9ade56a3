"""The cluster port on one machine: processes for pods, a file for the resource, a gateway that spreads connections.

This face imports nothing heavy: the gateway and the leash are processes of their own and start through it.
"""

__all__: list[str] = []
