"""A real control plane for tests: etcd, kube-apiserver, kube-controller-manager and kube-scheduler, without root.

How to use it (the fixtures are there in every test below tests/):

    def test_something(control_plane, namespace):
        control_plane.apply({...})                            # kubectl apply, as administrator
        control_plane.kubectl("wait", ...)                    # the real kubectl
        control_plane.get("pods", "-n", namespace)            # parsed JSON
        path = control_plane.service_account(namespace, "operator")   # a kubeconfig with that account's token
        client = ...official client from control_plane.kubeconfig or path...

`control_plane` is one for the whole run, also with `-n 2`: work in a `namespace` of your own, and expect that others' CRDs and
cluster roles are there. Who must stop the API server, or wants an empty audit log, takes `own_control_plane`:

    def test_outage(own_control_plane):
        with own_control_plane.outage():                      # killed now, back after the block
            ...

Nothing is left behind: the cluster goes when the last holder has left or died, SIGKILL included.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.cluster.folder import ClusterFolder
from support.cluster.hold import hold
from support.cluster.plane import ControlPlane

__all__ = ["control_plane", "namespace", "own_control_plane"]


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[ControlPlane]:
    """One for the whole run."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    yield from _plane(ClusterFolder(shared / "control-plane"))


@pytest.fixture
def own_control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One for this test alone: it may be stopped and started."""
    yield from _plane(ClusterFolder(tmp_path_factory.mktemp("own") / "control-plane"))


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A fresh one of the shared control plane."""
    with control_plane.namespace() as name:
        yield name


def _plane(folder: ClusterFolder) -> Iterator[ControlPlane]:
    with hold(folder) as keeper:
        yield ControlPlane(folder, keeper.url)
