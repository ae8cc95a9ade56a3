"""What the tests of an operator on a real API server share: the kind, and one operator for each module."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import httpx
import pytest
from support.cluster import ControlPlane
from support.operating import Operator, grant, serve_the_kind
from support.stacks import Stack


@pytest.fixture(scope="session")
def served(control_plane: ControlPlane) -> ControlPlane:
    """The control plane, and it serves MemoryStacks."""
    serve_the_kind(control_plane)
    return control_plane


@pytest.fixture(scope="session")
def api(served: ControlPlane) -> Iterator[httpx.Client]:
    """As administrator."""
    with served.api() as client:
        yield client


@pytest.fixture(scope="module")
def home(served: ControlPlane) -> Iterator[str]:
    """The module's namespace."""
    with served.namespace("mem") as name:
        yield name


@pytest.fixture(scope="module")
def operator(served: ControlPlane, home: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """One that leads in the module's namespace, under rights of its own."""
    account = grant(served, home, "operator")
    with Operator(account, home, tmp_path_factory.mktemp("operator")) as one:
        yield one


@pytest.fixture
def new_stack(served: ControlPlane, api: httpx.Client, home: str, operator: Operator) -> Iterator[Callable[[], Stack]]:
    """Makes stacks that are not applied yet, in the operator's care; they go with the test."""
    del operator
    made: list[Stack] = []

    def make() -> Stack:
        made.append(Stack(served, api, home, f"mem-{uuid.uuid4().hex[:6]}"))
        return made[-1]

    yield make
    for one in made:
        one.delete()


@pytest.fixture
def stack(new_stack: Callable[[], Stack]) -> Stack:
    """One of them."""
    return new_stack()
