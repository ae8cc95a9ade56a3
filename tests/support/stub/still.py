"""A pod that serves nobody: it is well, and says which flags it has. For tests that need many stacks at rest.

Run as a file with the bare interpreter, so it imports next to nothing: a start takes 30 ms and 10 MB. Knows: the files of
its config folder and the shape of an evidence report.
"""

import json
import os
import signal
import socket
import sys
import time

STARTED = time.time()


def report() -> bytes:
    """`/internal/evidence`, without any count."""
    folder = os.environ["MEMORYSTACK_CONFIG_DIR"]
    with open(f"{folder}/flags.json") as flags, open(f"{folder}/budgets.json") as budgets:
        revisions = {"flags": json.load(flags)["revision"], "budgets": json.load(budgets)["revision"]}
    who = {"pod": os.environ["MEMORYSTACK_POD_NAME"], "uid": os.environ["MEMORYSTACK_POD_UID"]}
    return json.dumps({**who, **revisions, "source": "file", "startedAt": STARTED, "counters": []}).encode()


def main() -> None:
    """One connection after the other; each asks once."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with socket.create_server((os.environ["MEMORYSTACK_HOST"], 9090), backlog=16) as door:
        while True:
            one, _ = door.accept()
            with one:
                one.settimeout(2)
                try:
                    asked = one.recv(4096)
                    body = report() if b"/internal/evidence" in asked else b"{}"
                    head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
                    one.sendall(head.encode() + body)
                except OSError as error:
                    sys.stderr.write(f"{error}\n")


if __name__ == "__main__":
    main()
