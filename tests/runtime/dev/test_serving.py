"""Engines that cannot listen say so in one sentence with an exit code of their own."""

from __future__ import annotations

import subprocess

import httpx
import pytest

from memorystack_runtime.dev import engine_command, start, start_command
from memorystack_runtime.dev.serving import Listener, bind


def test_embedder_names_the_port_that_is_taken() -> None:
    with start("embedder") as other:
        port = httpx.URL(other.url).port or 0
        done = subprocess.run(
            engine_command("embedder", "127.0.0.1", port), capture_output=True, text=True, timeout=20, check=False
        )
    assert done.returncode == 69
    sentence = f"embedder: port {port} on 127.0.0.1 is taken by another process; free it or choose another --port\n"
    assert (done.stdout, done.stderr) == ("", sentence)


@pytest.mark.parametrize(("host", "port"), [("203.0.113.1", "0"), ("127.0.0.1", "70000")])
def test_address_that_cannot_be_bound_is_named(host: str, port: str) -> None:
    argv = engine_command("embedder", host, int(port))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 69
    assert done.stderr.startswith(f"embedder: cannot listen on {host} port {port} (")
    assert done.stderr.count("\n") == 1


def test_engine_without_a_parent_serves_too() -> None:
    with start_command(engine_command("embedder")) as engine:
        assert httpx.get(f"{engine.url}/healthz").status_code == 200


def test_no_warning_arises_with_warnings_as_errors(tmp_path: object) -> None:
    for argv in (engine_command("embedder"), engine_command("qdrant", path=str(tmp_path))):
        with start_command([argv[0], "-W", "error", *argv[1:]]) as engine:
            assert httpx.get(f"{engine.url}/healthz").status_code == 200
        assert engine.process.returncode == 0


def test_url_of_an_ipv6_listener_has_brackets() -> None:
    listener = bind("embedder", "127.0.0.1", 0)
    with listener.socket:
        assert listener.url == f"http://127.0.0.1:{listener.port}"
        assert Listener(listener.socket, "::1", 80).url == "http://[::1]:80"
