"""`memorystack plan` and `memorystack explain`, from records on disk and from pods that answer."""

from __future__ import annotations

import json
import os
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
import yaml
from click.testing import CliRunner
from support.world import FLAG, POOL, World, rollout, settled_world

from memorystack_operator.cli import main, on_cluster
from memorystack_operator.cli.document import change_text, flag_text
from memorystack_operator.local.report import PodView, Report


def run(*words: str):
    return CliRunner().invoke(main, list(words))


def put_on_record(world: World, state_dir: Path) -> Path:
    """The folder that `up` would have left."""
    folder = state_dir / "mem"
    folder.mkdir(parents=True)
    record = {
        "version": 3,
        "generation": 1,
        "uid": "u",
        "spec": world.stack.spec.model_dump_json(by_alias=True),
        "status": world.status.model_dump(mode="json", by_alias=True),
    }
    (folder / "status.json").write_text(json.dumps(record))
    (folder / "counters.json").write_text("{}")
    return folder


def file_of(world: World, path: Path, **spec) -> Path:
    """A file with the world's stack, parts of the spec replaced."""
    dumped = world.stack.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    content = {
        "apiVersion": "memorystack.dev/v1alpha1",
        "kind": "MemoryStack",
        "metadata": {"name": "mem"},
        "spec": {**dumped["spec"], **spec},
    }
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def promoted(tmp_path: Path) -> Path:
    world = settled_world(240)
    world.edit(features=FLAG)
    assert world.run(120, until=lambda w: bool(w.status.history))
    world.run(5)
    put_on_record(world, tmp_path)
    file_of(world, tmp_path / "same.yaml")
    file_of(world, tmp_path / "new.yaml", features={**FLAG, **POOL})
    return tmp_path


def test_explain_tells_the_last_decision_of_a_stack_that_does_not_run(promoted: Path):
    done = run("explain", "--state-dir", str(promoted))
    assert done.exit_code == 0, done.output
    for part in (
        "mem: parallelIngest {concurrency: 4} was promoted",
        "What was counted",
        "store, without",
        "20x",
        "yes",
    ):
        assert part in done.output


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_explain_is_data_for_programs(promoted: Path, output: str):
    done = run("explain", "--state-dir", str(promoted), "--output", output)
    found = json.loads(done.stdout) if output == "json" else yaml.safe_load(done.stdout)
    assert found["outcome"] == "Promoted"
    assert found["judged"][0]["canaryRequests"] > 0


def test_explain_in_markdown_is_a_heading_a_paragraph_and_tables(promoted: Path):
    lines = run("explain", "--state-dir", str(promoted), "--output", "markdown").stdout.splitlines()
    assert lines[0].startswith("## mem: parallelIngest")
    assert "| requests | p95 budget | served | bad | bad share |" in lines
    assert "| :--- | ---: | ---: | ---: | ---: |" in lines


def test_explain_of_another_flag_says_that_nothing_was_decided(promoted: Path):
    assert (
        "Nothing was decided about cache yet" in run("explain", "--state-dir", str(promoted), "--stage", "cache").output
    )


def test_explain_shows_the_pairs_of_a_switchback(tmp_path: Path):
    world = settled_world()
    world.edit(features=FLAG)
    assert world.run(60, until=lambda w: bool(w.flagged))
    world.shared = 0.3
    assert world.run(900, until=lambda w: bool(w.status.history))
    put_on_record(world, tmp_path)
    output = run("explain", "--state-dir", str(tmp_path)).output
    assert "What the flag did on and off by lot" in output
    assert "HarmsSharedDependency" in output


def test_explain_of_a_stack_that_is_just_starting_says_so(tmp_path: Path):
    (tmp_path / "mem").mkdir()
    (tmp_path / "mem" / "counters.json").write_text("{}")
    done = run("explain", "--state-dir", str(tmp_path))
    assert done.exit_code == 1
    assert "nothing is on record" in done.output


@pytest.mark.parametrize("content", ["{", '{"status": 3}', '{"spec": "{}", "status": {}}'])
def test_a_damaged_record_is_named_and_explains_nothing(tmp_path: Path, content: str):
    (tmp_path / "mem").mkdir()
    (tmp_path / "mem" / "counters.json").write_text("{}")
    (tmp_path / "mem" / "status.json").write_text(content)
    done = run("explain", "--state-dir", str(tmp_path))
    assert done.exit_code == 1
    assert "status.json cannot be read" in done.output


def test_plan_from_the_record_names_stages_steps_times_and_detection(promoted: Path):
    done = run("plan", "-f", str(promoted / "new.yaml"), "--state-dir", str(promoted))
    assert done.exit_code == 0, done.output
    for part in (
        "1 flag would be tried: httpPool",
        "{connections: 10, enabled: false} -> {connections: 1",
        "1 of 3",
        "33 %",
        "recall, +10 %",
        "recall, +100 %",
        "at most 1 %",
        "when the last stage began",
    ):
        assert part in done.output


def test_plan_of_the_same_file_would_try_nothing(promoted: Path):
    done = run("plan", "-f", str(promoted / "same.yaml"), "--state-dir", str(promoted), "--output", "json")
    found = json.loads(done.stdout)
    assert found["outlook"]["stages"] == []
    assert found["remarks"][0].startswith("every flag of the file serves already")


def test_plan_without_any_stack_says_what_it_does_not_know(promoted: Path, tmp_path: Path):
    done = run("plan", "-f", str(promoted / "new.yaml"), "--state-dir", str(tmp_path / "none"))
    assert done.exit_code == 0
    assert "nothing of this name has run here yet" in done.output
    assert "no traffic is known" in done.output
    assert "2 flags would be tried: httpPool, then parallelIngest" in done.output


def test_plan_of_an_invalid_file_names_the_field(tmp_path: Path):
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        "apiVersion: memorystack.dev/v1alpha1\nkind: MemoryStack\nmetadata: {name: mem}\nspec: {replicas: x}\n"
    )
    done = run("plan", "-f", str(bad))
    assert done.exit_code == 2
    assert "spec.replicas" in done.output


def test_plan_shows_a_pause_and_what_a_stack_over_budget_needs(tmp_path: Path):
    world = World(settled_world(1).stack, rate=60)
    world.bad["store", "stable"] = 0.4
    world.run(240)
    world.edit(features=FLAG)
    assert world.run(60, until=lambda w: bool(w.flagged))
    put_on_record(world, tmp_path)
    steps = [{"weight": 34, "minDuration": "10s"}, {"pause": {}}]
    file = file_of(world, tmp_path / "new.yaml", rollout=rollout(steps=steps))
    output = run("plan", "-f", str(file), "--state-dir", str(tmp_path)).output
    assert "2: pause" in output
    assert "until a person resumes" in output
    assert "store, better than others" in output


# -- a stack of a cluster ------------------------------------------------------


class InCluster:
    """What `on_cluster.open_stack` would have found."""

    name = "mem"
    where = "ai/mem"

    def __init__(self, world: World) -> None:
        self._world = world

    def known(self):
        return self._world.stack, self._world.status


@pytest.fixture
def clustered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    world = settled_world(240)
    world.edit(features=FLAG)
    assert world.run(120, until=lambda w: bool(w.status.history))
    asked = []
    monkeypatch.setattr(on_cluster, "open_stack", lambda *words: asked.append(words) or InCluster(world))
    file_of(world, tmp_path / "new.yaml", features={**FLAG, **POOL})
    return tmp_path


def test_explain_of_a_stack_in_a_cluster_reads_its_status(clustered: Path):
    done = run("explain", "mem", "-n", "ai")
    assert done.exit_code == 0, done.output
    assert "mem: parallelIngest {concurrency: 4} was promoted" in done.stdout


def test_plan_against_a_cluster_compares_with_what_serves_there_and_its_recorded_traffic(clustered: Path):
    done = run("plan", "-f", str(clustered / "new.yaml"), "-n", "ai", "--output", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["outlook"]
    assert [s["name"] for s in found["stages"]] == ["httpPool"]
    assert found["traffic"][0]["source"] == "Recorded"


# -- a stack that runs ---------------------------------------------------------


@pytest.fixture
def running(tmp_path: Path):
    """Three pods that answer with their rings, and the records of an `up` that is this very process."""
    world = settled_world(240, rate=60)
    ahead = time.time() - world.now.timestamp()
    reports = {p.name: p.evidence for p in world.observe(history=True).pods if p.evidence}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            report = reports[self.path.split("/")[1]]
            moved = report.model_copy(update={"started_at": report.started_at + ahead})
            body = moved.model_dump_json(by_alias=True).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        folder = put_on_record(world, tmp_path)
        pods = tuple(
            PodView(
                name=name,
                address="a",
                internal_url=f"http://127.0.0.1:{server.server_port}/{name}",
                ready=True,
                arm="stable",
                flags="f",
                restarts=0,
                lag_ms=0,
            )
            for name in reports
        )
        report = Report(name="mem", file="f", gateway="g", at=datetime.now(UTC), status=world.status, pods=pods)
        (folder / "report.json").write_text(report.model_dump_json(by_alias=True))
        me = psutil.Process(os.getpid())
        running = {"pid": me.pid, "created": me.create_time(), "name": "mem", "file": "f", "gateway": "g"}
        (folder / "up.json").write_text(json.dumps(running))
        file_of(world, tmp_path / "new.yaml", features=FLAG)
        yield tmp_path
        server.shutdown()
        thread.join()


def test_plan_reads_the_traffic_of_now_from_the_running_pods(running: Path):
    done = run("plan", "-f", str(running / "new.yaml"), "--state-dir", str(running), "--output", "json")
    found = json.loads(done.stdout)
    assert [t["source"] for t in found["outlook"]["traffic"]] == ["Observed", "Observed"]
    assert found["outlook"]["traffic"][0]["rate"] == pytest.approx(60, rel=0.05)
    assert found["outlook"]["stages"][0]["medianSeconds"] >= 10
    assert "now" in run("plan", "-f", str(running / "new.yaml"), "--state-dir", str(running)).output


def test_flags_are_told_as_people_write_them_and_only_what_differs():
    before, after = '{"maxSize":100,"ttlMs":60000}', '{"maxSize":200,"ttlMs":60000}'
    assert flag_text(before) == "{maxSize: 100, ttlMs: 60000}"
    assert change_text(before, after) == "{maxSize: 100} -> {maxSize: 200}"
