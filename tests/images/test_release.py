"""The workflow that makes a release: read as GitHub reads it, and those of its steps that need no registry are run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.chart import CHART, helm
from support.cluster.programs import program

REPOSITORY = Path(__file__).parents[2]
WORKFLOW = REPOSITORY / ".github" / "workflows" / "release.yml"
VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]


def steps(job: str) -> dict[str, str]:
    """Name -> script."""
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())["jobs"][job]
    return {step["name"]: step["run"] for step in found["steps"] if "name" in step}


def run(script: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """As a runner does, in that folder."""
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    known = {**os.environ, "CHART": "chart", **env}
    return subprocess.run(words, cwd=folder, env=known, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(CHART, tmp_path / "chart")
    return tmp_path


def test_a_workflow_when_read_by_actionlint_then_has_no_mistake() -> None:
    done = subprocess.run([program("actionlint"), WORKFLOW], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_somebody_elses_action_when_used_then_is_named_by_its_hash() -> None:
    used = re.findall(r"uses: (\S+)", WORKFLOW.read_text())
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", one)] == []


def test_each_image_when_built_then_is_a_target_of_the_dockerfile() -> None:
    targets = re.findall(r"^FROM \S+ AS (\S+)", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    matrix = yaml.safe_load(WORKFLOW.read_text())["jobs"]["image"]["strategy"]["matrix"]
    assert set(matrix["image"]) <= set(targets)
    assert matrix["architecture"] == ["amd64", "arm64"]


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"REGISTRY": "", "GITHUB_REF_NAME": f"v{VERSION}"}, "set the repository's variable REGISTRY"),
        ({"REGISTRY": "r.example/t", "GITHUB_REF_NAME": "v99.0.0"}, "the tag says v99.0.0"),
        ({"REGISTRY": "r.example/t", "GITHUB_REF_NAME": f"v{VERSION}"}, ""),
    ],
    ids=["no registry", "another version", "all is well"],
)
def test_a_tag_when_it_does_not_fit_then_nothing_is_built(checkout: Path, env: dict[str, str], said: str) -> None:
    (script,) = steps("verify").values()
    done = run(script, checkout, **env)
    assert (done.returncode == 0, said in done.stdout) == (not said, True)


def test_the_chart_when_released_then_asks_the_registry_of_the_release_for_its_images(checkout: Path) -> None:
    script = steps("publish")["The chart, which asks that registry for its images"]
    done = run(script.partition("helm package")[0], checkout, REGISTRY="r.example/t")
    assert done.returncode == 0, done.stderr
    objects = yaml.safe_load_all(helm("template", "one", str(checkout / "chart"), "--kube-version", "1.34.0").stdout)
    (deployment,) = [one for one in objects if one and one["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"r.example/t/memorystack-operator:{VERSION}"
    assert f"--runtime-image=r.example/t/memorystack-runtime:{VERSION}" in container["args"]
