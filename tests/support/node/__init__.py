"""A real node on this machine: containerd, kubelet, kube-proxy and CoreDNS in namespaces of their own, with images built here.

Needs root and Linux. Nothing of it touches the machine outside its namespaces: when their first process ends, the kernel takes
processes, mounts, interfaces and packet rules with it. What remains, cgroups and files, `make cluster-down` removes.
"""
