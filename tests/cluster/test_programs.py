"""Where the cluster's programs come from, and what is said when they cannot be built."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from support.cluster import ClusterError
from support.cluster.go import go_command
from support.cluster.modules import KUBERNETES, TOOLS, module_of
from support.cluster.programs import programs


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def no_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A PATH without Go, and an environment whose pip has nothing; the cache is empty."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr("sys.prefix", str(tmp_path / "prefix"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return tmp_path


def test_each_module_when_read_then_requires_the_version_that_its_programs_report() -> None:
    assert KUBERNETES.version.startswith("v1.")
    assert f"-X k8s.io/component-base/version.gitVersion={KUBERNETES.version}" in KUBERNETES.linker_flags
    assert len({module.key for module in TOOLS}) == len(TOOLS)
    assert module_of("kubelet") is KUBERNETES


def test_programs_when_kubebuilder_assets_holds_one_then_it_is_taken(
    no_go: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = script(no_go / "assets" / "etcd", "true")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(mine.parent))
    assert programs(["etcd"]) == {"etcd": mine}


def test_programs_when_kubebuilder_assets_is_no_folder_then_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", "/nowhere")
    with pytest.raises(ClusterError, match="KUBEBUILDER_ASSETS=/nowhere is no folder: unset it"):
        programs(["etcd"])


def test_programs_when_there_is_no_go_and_no_wheel_then_every_way_out_is_named(no_go: Path) -> None:
    with pytest.raises(ClusterError) as caught:
        programs(["etcd"])
    for word in ("there is no go on PATH", "Install Go 1.26", "KUBEBUILDER_ASSETS", "kubectl and helm"):
        assert word in str(caught.value)


def test_go_when_the_one_on_path_is_old_then_names_it(no_go: Path) -> None:
    old = script(no_go / "bin" / "go", "echo go version go1.19.1 linux/amd64")
    with pytest.raises(ClusterError, match=rf"{old} is 1\.19"):
        go_command(no_go / "cache")


def test_a_build_when_it_fails_then_shows_what_go_said_and_leaves_nothing_that_looks_whole(
    no_go: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script(no_go / "bin" / "go", 'case "$1" in version) echo go1.26.0;; *) echo no space left; exit 1;; esac')
    with pytest.raises(ClusterError, match="no space left"):
        programs(["etcd"])
    assert "building etcd (1 of 1)" in capsys.readouterr().err
    assert not list((no_go / "cache").rglob("etcd"))


def test_a_build_when_it_succeeds_then_the_next_one_is_not_started(no_go: Path) -> None:
    # Writes to the path that follows -o, as `go build` does.
    script(
        no_go / "bin" / "go",
        'case "$1" in version) echo go1.26.0;; *) while [ "$1" != -o ]; do shift; done; echo x >"$2";; esac',
    )
    path = programs(["etcd"])["etcd"]
    script(no_go / "bin" / "go", "exit 1")
    assert programs(["etcd"]) == {"etcd": path}
    assert path.read_text() == "x\n"
