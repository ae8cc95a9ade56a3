"""`memorystack load`: what it reads, what it sends, where it goes, and every way in which it cannot."""

from __future__ import annotations

import json
import os
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from memorystack_operator.cli import main
from memorystack_operator.cli.load import check_target
from memorystack_operator.cli.traffic import corpus as corpus_module
from memorystack_operator.cli.traffic import from_folder, from_topics
from memorystack_operator.local.errors import CannotStart
from memorystack_runtime.chunking import chunk


def run(*words: str):
    return CliRunner().invoke(main, list(words))


def prose(about: str, paragraphs: int = 20) -> str:
    return "\n\n".join(f"Paragraph {i} says of {about} what forty characters can hold." for i in range(paragraphs))


class Handler(BaseHTTPRequestHandler):
    seen: list[tuple[str, dict]]
    status = 200

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        type(self).seen.append((self.path, body))
        self.send_response(type(self).status)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server():
    handler = type("Fresh", (Handler,), {"seen": [], "status": 200})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running, handler
        running.shutdown()
        thread.join()


def test_load_keeps_its_rates_and_reports_them(server, tmp_path: Path):
    running, handler = server
    report = tmp_path / "r.json"
    url = f"http://127.0.0.1:{running.server_port}"
    done = run("load", "--url", url, "--seconds", "2", "--recalls", "40", "--stores", "10", "--report", str(report))
    assert done.exit_code == 0, done.output
    found = json.loads(report.read_text())
    assert 60 <= found["recall"]["sent"] <= 100
    assert 14 <= found["store"]["sent"] <= 26
    assert found["statuses"] == {"200": found["recall"]["sent"] + found["store"]["sent"]}
    first, *later = done.output.splitlines()
    assert first == f"50 requests a second to {url} for 2s; Ctrl-C ends it"
    assert "over budget" in later[-1]
    questions = [b["query"] for p, b in handler.seen if p == "/v1/recall"]
    assert 0.1 < 1 - len(set(questions)) / len(questions) < 0.6


@pytest.mark.parametrize("connection", ["per-request", "keep-alive"])
def test_load_that_only_fails_exits_with_1(server, connection: str):
    running, handler = server
    handler.status = 503
    url = f"http://127.0.0.1:{running.server_port}"
    done = run(
        "load", "--url", url, "--seconds", "0.5", "--connection", connection, "--output", "json", "--api-key", "k"
    )
    assert done.exit_code == 1
    assert "503" in done.output


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1", "http://192.168.1.1:80", "ftp://127.0.0.1", "nonsense", "http://no.such.host.invalid"]
)
def test_load_goes_nowhere_but_to_this_machine(url: str):
    with pytest.raises(CannotStart, match="--url"):
        check_target(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"])
def test_this_machine_has_several_names(url: str):
    check_target(url)


def test_documents_have_about_two_to_eight_chunks():
    corpus, chance = from_topics(), random.Random(1)
    counts = [len(chunk(corpus.document(chance, 2, 8), 800)) for _ in range(300)]
    assert min(counts) == 2
    assert sum(2 <= c <= 8 for c in counts) > 290
    assert 0.5 <= sum(c >= 4 for c in counts) / 300 <= 0.75
    assert all(0 < len(corpus.question(chance)) <= 200 for _ in range(100))


# -- a folder of one's own ----------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files of text, one deeper than the others, beside what is none."""
    path = tmp_path / "texts"
    (path / "deep").mkdir(parents=True)
    (path / ".git").mkdir()
    (path / "b.md").write_text(prose("bees"))
    (path / "a.txt").write_text(prose("ants"))
    (path / "deep" / "c.rst").write_text(prose("crows"))
    (path / ".git" / "hidden.md").write_text(prose("secrets"))
    (path / "code.py").write_text(prose("code"))
    return path


def test_load_from_a_folder_stores_and_asks_for_its_text_alone(server, folder: Path):
    running, handler = server
    url = f"http://127.0.0.1:{running.server_port}"
    done = run("load", "--url", url, "--from", str(folder), "--seconds", "1", "--stores", "30", "--recalls", "30")
    assert done.exit_code == 0, done.output
    stored = " ".join(body["text"] for path, body in handler.seen if path == "/v1/memories")
    asked = " ".join(body["query"] for path, body in handler.seen if path == "/v1/recall")
    for text in (stored, asked):
        assert all(f"says of {animal}" in text for animal in ("ants", "bees", "crows"))
        assert "code" not in text
        assert "secrets" not in text


def test_the_files_of_a_folder_are_read_in_the_order_of_their_names(folder: Path):
    first = [p.split()[4] for p in from_folder(folder, print).paragraphs[::20]]
    assert first == ["ants", "bees", "crows"]


def test_files_that_are_no_text_are_left_out_and_named(folder: Path):
    (folder / "image.txt").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 10)
    (folder / "zeros.md").write_bytes(b"\0" * 5000)
    (folder / "gone.md").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.md")
    said: list[str] = []
    assert len(from_folder(folder, said.append).paragraphs) == 60
    assert [line.removeprefix(f"{folder}/") for line in said] == [
        "image.txt: left out (not UTF-8 text)",
        "zeros.md: left out (not UTF-8 text)",
    ]


def test_a_file_that_cannot_be_opened_is_left_out_and_named(folder: Path, monkeypatch: pytest.MonkeyPatch):
    opened = Path.open

    def refuse(path: Path, *args, **kwargs):
        if path.name == "b.md":
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    said: list[str] = []
    assert len(from_folder(folder, said.append).paragraphs) == 40
    assert said == [f"{folder}/b.md: left out (Permission denied)"]


def test_of_a_huge_folder_only_the_first_part_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(corpus_module, "MAX_CHARACTERS", 1500)
    said: list[str] = []
    read = "\n\n".join(from_folder(folder, said.append).paragraphs)
    assert 1400 < len(read) <= 1500 + len("\n\n")
    assert "crows" not in read
    assert "left out" in said[0]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda path: None, "no such folder"),
        (lambda path: path.write_text(prose("a file")), "no such folder"),
        (lambda path: path.mkdir(), "too little text"),
        (lambda path: (path.mkdir(), (path / "one.md").write_text(prose("little", 9))), "too little text"),
        (lambda path: (path.mkdir(), (path / "one.md").write_bytes(b"\xff\xfe\0" * 3000)), "too little text"),
        (lambda path: (path.mkdir(), (path / "one.pdf").write_text(prose("another ending"))), "too little text"),
    ],
    ids=["missing", "a file", "empty", "little", "binary", "no text files"],
)
def test_a_folder_without_enough_text_is_refused_before_anything_is_sent(server, tmp_path: Path, made, said: str):
    running, handler = server
    path = tmp_path / "texts"
    made(path)
    done = run("load", "--url", f"http://127.0.0.1:{running.server_port}", "--from", str(path))
    assert done.exit_code == 1
    assert f"--from {path}" in done.output
    assert said in done.output
    assert handler.seen == []


def test_a_report_that_could_not_be_written_is_refused_before_anything_is_sent(server, tmp_path: Path):
    running, handler = server
    path = tmp_path / "nowhere" / "report.json"
    done = run("load", "--url", f"http://127.0.0.1:{running.server_port}", "--report", str(path))
    assert done.exit_code == 1
    assert str(path) in done.output
    assert handler.seen == []
