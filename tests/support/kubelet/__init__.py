"""A kubelet without root: it makes a process of each pod, on a loopback address of its own, and tells the API what a kubelet tells.

It is what the local mode's supervisor is on one machine, behind the door of the real API: the same processes on a leash, the
same reading of a pod's variables and volumes. See `tests/cluster/README.md` for what it does and what only a real node shows.
"""
