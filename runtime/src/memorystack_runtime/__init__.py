"""MemoryStack's runtime: an agent's memory service whose flags change while it serves.

`memorystack_runtime.contract` is all that the operator knows of it.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
