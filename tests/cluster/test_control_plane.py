"""Bringing a control plane up and down, sharing it, and its end when its holders are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.cluster import ClusterError, ClusterFolder, ControlPlane, down, hold, up
from support.cluster.hold import _why

TESTS = Path(__file__).parents[1]


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "support.cluster", *words], cwd=TESTS, capture_output=True, text=True, timeout=180
    )


def family(folder: ClusterFolder) -> list[psutil.Process]:
    keeper = folder.read_keeper()
    assert keeper is not None
    parent = psutil.Process(keeper.pid)
    return [parent, *parent.children(recursive=True)]


def gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=20)[1]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[ClusterFolder]:
    one = ClusterFolder(tmp_path / "cluster")
    yield one
    down(one)


def test_a_control_plane_when_it_is_up_then_gives_kubectl_a_token_for_each_account_and_a_ready_node(
    control_plane: ControlPlane, namespace: str
) -> None:
    assert control_plane.get("node", "node-1")["status"]["nodeInfo"]["kubeletVersion"] == "process-kubelet"
    version = json.loads(control_plane.kubectl("version", "-o", "json").stdout)
    assert version["serverVersion"]["gitVersion"].startswith("v1.")
    assert version["serverVersion"]["gitVersion"] != "v0.0.0-master+$Format:%H$"
    nobody = control_plane.service_account(namespace, "nobody")
    refused = control_plane.kubectl("get", "secrets", kubeconfig=nobody, check=False)
    assert "Forbidden" in refused.stderr
    assert f"system:serviceaccount:{namespace}:nobody" in refused.stderr
    assert '"verb":"list"' in control_plane.audit_log.read_text()


def test_a_namespace_when_its_block_ends_then_the_controller_manager_collects_what_was_in_it(
    control_plane: ControlPlane,
) -> None:
    with control_plane.namespace() as name:
        control_plane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": name}})
    control_plane.kubectl("wait", "--for=delete", f"namespace/{name}", "--timeout=60s")


def test_up_when_a_cluster_is_up_then_says_so_and_down_leaves_nothing(folder: ClusterFolder) -> None:
    at = str(folder.root)
    assert command("status", "--folder", at).returncode == 3
    first = command("up", "--folder", at, "--output", "json")
    assert first.returncode == 0, first.stderr
    assert "kube-apiserver is ready after" in first.stderr
    processes = family(folder)
    status = command("status", "--folder", at, "--output", "json")
    assert (status.returncode, json.loads(status.stdout)["phase"]) == (0, "Up")
    second = command("up", "--folder", at)
    assert second.returncode == 1
    assert "a cluster is up already (https://127.0.0.1:" in second.stderr
    assert "make cluster-down" in second.stderr
    assert command("down", "--folder", at).stdout == "down\n"
    assert gone(processes)
    assert not folder.root.exists()
    assert "there is no cluster" in command("down", "--folder", at).stdout


def test_down_when_the_keeper_was_killed_then_status_says_crashed_and_nothing_is_left(folder: ClusterFolder) -> None:
    up(folder)
    processes = family(folder)
    assert len(processes) >= 6
    processes[0].kill()
    assert gone(processes)  # the kernel ends them with the keeper
    status = command("status", "--folder", str(folder.root))
    assert (status.returncode, status.stdout.split(":")[0]) == (3, "Crashed")
    assert down(folder)
    assert not folder.root.exists()


def test_a_shared_cluster_when_its_last_holder_is_killed_then_goes_by_itself(folder: ClusterFolder) -> None:
    """Two test workers share one; the first leaves in order, the second dies by SIGKILL."""
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom support.cluster import ClusterFolder, hold\n"
        "with hold(ClusterFolder(Path(sys.argv[1]))) as keeper:\n    print(keeper.pid, flush=True)\n    time.sleep(300)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder.root)], cwd=TESTS, stdout=subprocess.PIPE, text=True
    ) as other:
        try:
            assert other.stdout is not None
            pid = int(other.stdout.readline())
            with hold(folder) as keeper:
                assert keeper.pid == pid
                processes = family(folder)
            time.sleep(1)  # five looks of the keeper
            assert folder.read_keeper() is not None
        finally:
            other.send_signal(signal.SIGKILL)
    assert gone(processes)
    assert not folder.etcd.exists()


def test_an_outage_when_the_api_server_is_killed_then_it_is_back_after_the_block_with_all_that_was_stored(
    own_control_plane: ControlPlane,
) -> None:
    with own_control_plane.namespace() as name:
        with own_control_plane.outage():
            refused = own_control_plane.kubectl("get", "namespaces", check=False)
            assert "refused" in refused.stderr
        assert own_control_plane.get("namespace", name)["metadata"]["name"] == name


def test_up_when_the_port_is_taken_then_names_it_and_leaves_no_holder(
    folder: ClusterFolder, control_plane: ControlPlane
) -> None:
    port = int(control_plane.url.rsplit(":", 1)[1])
    with pytest.raises(ClusterError, match=rf"port {port} on 127.0.0.1 cannot be used .*--port"):
        up(folder, port)
    assert not list(folder.holders.iterdir())


def test_why_when_a_keeper_left_no_word_then_its_log_is_shown(folder: ClusterFolder) -> None:
    folder.make()
    assert _why(folder) == "the cluster's keeper died and left no word"
    (folder.logs / "keeper.log").write_text("out of memory")
    assert "out of memory" in _why(folder)


def test_a_folder_when_it_cannot_be_written_then_names_it_and_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ClusterError, match=r"cannot be written .*--folder"):
        ClusterFolder(tmp_path / "file" / "cluster").make()


def test_a_holder_when_its_process_is_gone_then_is_struck_off(folder: ClusterFolder) -> None:
    folder.make()
    assert not folder.held()
    mine = folder.join()
    (folder.holders / "dead").write_text(json.dumps({"pid": os.getpid(), "created": 1.0}))
    assert folder.held()
    assert sorted(folder.holders.iterdir()) == [mine]
    mine.unlink()
    assert not folder.held()
