"""The way to kind, as far as it goes without a registry: programs that only say what they were asked stand in for kind and docker."""

from __future__ import annotations

from pathlib import Path

import pytest
from e2e import clusters
from support.cluster import ClusterError
from support.node.images import IMAGES, PAUSE


class Programs:
    """Scripts in a folder that is all of PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked = folder / "asked"

    def add(self, name: str, text: str = "exit 0") -> Path:
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.asked}\n{text}\n')
        path.chmod(0o755)
        return path

    def kind_was_asked(self) -> list[str]:
        lines = self.asked.read_text().splitlines()
        return [" ".join(line.split()[1:3]) for line in lines if line.startswith("kind ")]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Programs:
    """Root's, with what builds images, and archives that are there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(clusters, "BUILDERS", ())
    monkeypatch.setattr(clusters, "archives", lambda: {i.name: tmp_path / f"{i.target}.tar" for i in IMAGES})
    monkeypatch.setattr(clusters, "program", lambda name: folder / name)
    return Programs(folder)


def test_kind_when_no_engine_answers_then_says_what_goes_without(machine: Programs, tmp_path: Path) -> None:
    machine.add("docker", "exit 1")
    with (
        pytest.raises(ClusterError, match=r"none of docker, podman, nerdctl answers here.*leave CLUSTER=kind out"),
        clusters.on_kind(tmp_path),
    ):
        pass


def test_kind_when_its_nodes_image_cannot_be_pulled_then_says_so_and_what_kind_said(
    machine: Programs, tmp_path: Path
) -> None:
    machine.add("podman")
    machine.add("kind", "echo 'failed to pull image \"kindest/node\"' >&2; exit 1")
    with (
        pytest.raises(ClusterError, match=r"(?s)kindest/node, from a registry.*kind create said:\nfailed to pull"),
        clusters.on_kind(tmp_path),
    ):
        pass
    assert machine.kind_was_asked() == ["create cluster"]


def test_kind_when_it_works_then_gets_our_images_and_is_deleted_afterwards(machine: Programs, tmp_path: Path) -> None:
    machine.add("docker")
    machine.add("kind")
    with clusters.on_kind(tmp_path) as access:
        assert access.is_relative_to(tmp_path)
        loaded = machine.kind_was_asked().count("load image-archive")
    assert loaded == len([image for image in IMAGES if image != PAUSE])
    assert machine.kind_was_asked()[-1] == "delete cluster"


def test_kind_when_a_story_breaks_off_then_is_deleted_all_the_same(machine: Programs, tmp_path: Path) -> None:
    machine.add("docker")
    machine.add("kind")
    with pytest.raises(KeyboardInterrupt), clusters.on_kind(tmp_path):
        raise KeyboardInterrupt
    assert machine.kind_was_asked()[-1] == "delete cluster"
