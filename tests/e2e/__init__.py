"""The story that a person lives with MemoryStack on Kubernetes, told on a real one by the commands that the readme shows.

`make e2e` runs it; it is a program and no test module, since each step stands on the one before.
"""
