"""The images' locks: pins of requirements.lock and nothing else, and what of them counts for a Python and a machine."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[2]
LOCKS = ("images/runtime.lock", "images/operator.lock", "tests/cluster/images/engines.lock")
LOCK = """\
async-timeout==5.0.1 ; python_full_version < '3.11.3' \\
    --hash=sha256:aa \\
    --hash=sha256:bb
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:cc
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:dd
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:ee
redis[hiredis]==8.1.0 \\
    --hash=sha256:ff
"""


@pytest.fixture(scope="module")
def wheels() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wheels", REPOSITORY / "images" / "wheels.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pins(lock: str) -> dict[str, set[str]]:
    """Package with its version -> hashes."""
    entries = re.findall(r"^(\S+==\S+)[^\n]*\n((?: +--hash=.*\n)+)", (REPOSITORY / lock).read_text(), re.MULTILINE)
    return {pin: set(re.findall(r"--hash=(\S+)", hashes)) for pin, hashes in entries}


@pytest.mark.parametrize("lock", LOCKS)
def test_an_images_lock_when_read_then_pins_what_requirements_lock_pins(lock: str) -> None:
    """Else what is tested is not what is shipped: run make lock."""
    everything = {re.sub(r"\[.*\]", "", pin): hashes for pin, hashes in pins("requirements.lock").items()}
    mine = {re.sub(r"\[.*\]", "", pin): hashes for pin, hashes in pins(lock).items()}
    assert len(mine) > 30
    assert {pin: hashes for pin, hashes in mine.items() if everything.get(pin) != hashes} == {}


@pytest.mark.parametrize(
    ("python", "expected"),
    [
        ("3.11.2", ["async-timeout==5.0.1", "numpy==2.4.6", "redis==8.1.0"]),
        ("3.11.7", ["numpy==2.4.6", "redis==8.1.0"]),
        ("3.12.0", ["numpy==2.5.5", "redis==8.1.0"]),
    ],
)
def test_a_lock_when_meant_for_another_python_then_holds_what_counts_there_with_all_hashes(
    wheels: ModuleType, python: str, expected: list[str]
) -> None:
    found = wheels.lock_for(LOCK, python, "x86_64")
    assert re.findall(r"^(\S+==\S+)", found, re.MULTILINE) == expected
    assert ("--hash=sha256:aa \\\n    --hash=sha256:bb" in found) == (python == "3.11.2")


def test_wheels_when_the_folder_holds_them_already_then_pip_is_not_asked(wheels: ModuleType, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(LOCK)
    said = tmp_path / "said"
    pip = f"sh -c 'echo asked >> {said}'"
    for _ in range(2):
        wheels.fetch(lock, tmp_path / "wheels", "3.12.0", "x86_64", pip)
    assert said.read_text() == "asked\n"
    wheels.fetch(lock, tmp_path / "wheels", "3.12.0", "aarch64", pip)
    assert said.read_text() == "asked\nasked\n"


@pytest.mark.parametrize("name", ["Dockerfile", "tests/cluster/images/Dockerfile"])
def test_a_dockerfile_when_read_then_fetches_nothing_and_takes_its_base_from_an_argument(name: str) -> None:
    text = (REPOSITORY / name).read_text()
    assert "ARG BASE=python:3.12-slim-bookworm" in text
    assert not re.search(r"^RUN .*(apt|curl|wget|pip install|://)", text, re.MULTILINE)


def test_the_images_when_built_then_run_as_a_user_by_number() -> None:
    """Kubernetes cannot tell from a name whether it is root."""
    targets = re.split(r"^FROM ", (REPOSITORY / "Dockerfile").read_text(), flags=re.MULTILINE)
    shipped = [target for target in targets if "ENTRYPOINT" in target]
    assert len(shipped) == 2
    assert all(re.search(r"^USER [1-9]\d+:[1-9]\d+$", target, re.MULTILINE) for target in shipped)
