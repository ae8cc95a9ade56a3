"""What can be said of a node without root: its refusals, its configuration, and the clean-up of cgroups. `make e2e` runs a real one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.cluster import ClusterError, ClusterFolder
from support.node import cgroups, components, packages, sandbox
from support.node.images import IMAGES


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)


def test_a_node_when_asked_for_without_root_then_says_what_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match=r"needs root on Linux.*make cluster-up, make test"):
        packages.require()


@pytest.mark.usefixtures("root")
def test_a_node_when_programs_are_missing_and_there_is_no_apt_then_names_programs_and_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(packages, "_path", lambda: str(tmp_path))
    with pytest.raises(ClusterError, match=r"containerd, ctr, .*missing: apt-get install .*buildah .*runc"):
        packages.require()


@pytest.mark.usefixtures("root")
def test_a_node_when_apt_fails_then_says_what_apt_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\necho no space left on device >&2\nexit 100\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(packages, "_there", lambda name: name != "runc")
    with pytest.raises(ClusterError, match=r"runc missing: apt-get install runc .*apt-get said: no space left"):
        packages.require()


def test_a_nodes_folder_when_it_lies_where_the_node_hides_things_then_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"/var/lib/mine is below /var/lib.*choose another"):
        sandbox.prepare(1, Path("/var/lib/mine"))


@pytest.mark.parametrize("version", [1, 2])
def test_cgroups_when_made_and_removed_then_nothing_stays_in_any_hierarchy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: int
) -> None:
    """Plain folders in the kernel's place: what is there to be written and removed is the same."""
    hierarchies = [tmp_path] if version == 2 else [tmp_path / "cpuset", tmp_path / "memory"]
    for hierarchy in hierarchies:
        hierarchy.mkdir(exist_ok=True)
        (hierarchy / "cgroup.procs").touch()
    if version == 2:
        (tmp_path / "cgroup.controllers").write_text("cpu memory")
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    name = cgroups.name_for(tmp_path / "cluster")
    cgroups.make(name)
    for hierarchy in hierarchies:
        (hierarchy / name / "kubepods" / "pod1").mkdir(parents=True)
    cgroups.remove(name)
    assert [hierarchy for hierarchy in hierarchies if (hierarchy / name).exists()] == []


def test_a_cgroups_name_when_the_folder_differs_then_differs() -> None:
    assert cgroups.name_for(Path("/a")) != cgroups.name_for(Path("/b"))


def test_a_kubelet_when_configured_then_is_on_its_own_address_and_keeps_its_images(tmp_path: Path) -> None:
    folder = ClusterFolder(tmp_path)
    command = components.kubelet(Path("kubelet"), folder, tmp_path, "mine")
    config = json.loads((tmp_path / "kubelet.json").read_text())
    assert f"--node-ip={sandbox.ADDRESS}" in command
    assert (config["cgroupRoot"], config["clusterDNS"]) == ("/mine", [sandbox.ADDRESS])
    assert config["imageGCHighThresholdPercent"] == 100


def test_an_image_when_a_source_changes_then_has_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {image.key for image in IMAGES}
    assert len(keys) == len(IMAGES)
    monkeypatch.setattr("support.node.images.PYTHON", "3.99")
    assert keys.isdisjoint(image.key for image in IMAGES)
