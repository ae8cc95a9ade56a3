"""`memorystack load`."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import signal
import socket
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import click

from memorystack_operator.api.durations import format_duration
from memorystack_operator.cli.doors import json_option, said_plainly
from memorystack_operator.cli.traffic import Plan, Summary, Traffic, from_folder, from_topics
from memorystack_operator.local.errors import CannotStart
from memorystack_operator.local.state import write_atomically

__all__ = ["check_target", "load"]


RATE: Final = click.FloatRange(0, 10_000)


def _range(ctx: click.Context, parameter: click.Parameter, text: str) -> tuple[int, int]:
    fewest, _, most = text.partition("-")
    if not (fewest.isdecimal() and most.isdecimal() and 1 <= int(fewest) <= int(most) <= 1000):
        msg = f"{text}: write FEWEST-MOST, as 2-8"
        raise click.BadParameter(msg, ctx, parameter)
    return int(fewest), int(most)


@click.command()
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Base URL of the API.")
@click.option("--recalls", "recalls_per_second", default=35.0, show_default=True, type=RATE, help="Recalls a second.")
@click.option("--stores", "stores_per_second", default=8.0, show_default=True, type=RATE, help="Stores a second.")
@click.option(
    "--repeat",
    default=0.3,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of recalls that were asked lately.",
)
@click.option("--seconds", default=600.0, show_default=True, type=click.FloatRange(0.1, 3600), help="How long.")
@click.option(
    "--from",
    "source",
    default="topics",
    show_default=True,
    help="A folder with .md, .rst and .txt files, or Python's own documentation topics.",
)
@click.option(
    "--chunks", default="2-8", show_default=True, callback=_range, help="Chunks of a document, as FEWEST-MOST."
)
@click.option(
    "--connection",
    type=click.Choice(["per-request", "keep-alive"]),
    default="per-request",
    show_default=True,
    help="A new connection each time, or kept ones.",
)
@click.option(
    "--api-key", default="", envvar="MEMORYSTACK_API_KEY", help="Sent as X-API-Key.  [env: MEMORYSTACK_API_KEY]"
)
@click.option(
    "--budget-ms",
    default=250.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="What counts as over budget in the summary.",
)
@click.option("--seed", default=1, show_default=True, help="The same seed sends the same requests.")
@click.option("--allow-remote", is_flag=True, help="Also to addresses beyond this machine: only where you may.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Write the summary there as JSON.")
@click.option(
    "--interim", type=click.Path(path_type=Path, dir_okay=False), hidden=True, help="Counts every few seconds."
)
@json_option
@said_plainly
def load(
    url: str,
    source: str,
    chunks: tuple[int, int],
    connection: Literal["per-request", "keep-alive"],
    allow_remote: bool,
    report: Path | None,
    interim: Path | None,
    output: Literal["text", "json"],
    **rates: Any,
) -> None:
    """Send mixed store and recall traffic at a rate, from real text.

    The loop is open: requests leave at their rate whether or not earlier ones have come back. It is bounded in time and
    in requests in flight; what that bound kept back is counted as dropped.

    \b
      memorystack load --api-key memorystack-demo-key --seconds 30
      memorystack load --api-key memorystack-demo-key --from docs --stores 2 --recalls 20

    Exit codes: 0 sent, 1 cannot start or every request failed, 2 wrong usage.
    """
    if not allow_remote:
        check_target(url)
    _check_folders(report, interim)
    plan = Plan(
        url=url.rstrip("/"),
        fewest_chunks=chunks[0],
        most_chunks=chunks[1],
        keep_alive=connection == "keep-alive",
        **rates,
    )
    corpus = from_topics() if source == "topics" else from_folder(Path(source), partial(click.echo, err=True))
    if output == "text":
        _announce(plan)

    def tell(now: Summary) -> None:
        if interim:
            write_atomically(interim, json.dumps(asdict(now)))
        _tell(now, output)

    summary = asyncio.run(_run(Traffic(plan, corpus), tell))
    for path in (report, interim):
        if path:
            write_atomically(path, json.dumps(asdict(summary), indent=2) + "\n")
    _tell(summary, output, last=True)
    _check_answered(summary, url)


def check_target(url: str) -> None:
    """Load goes to this machine. Raises CannotStart for any other address."""
    host = urlsplit(url).hostname
    if urlsplit(url).scheme not in ("http", "https") or not host:
        msg = f"--url {url}: write http://host:port"
        raise CannotStart(msg)
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        found = set()
    if not found or not all(ipaddress.ip_address(address).is_loopback for address in found):
        msg = f"--url {url}: not an address of this machine; --allow-remote sends load there, if you may"
        raise CannotStart(msg)


def _check_folders(*paths: Path | None) -> None:
    """Before the load, not after it."""
    for path in paths:
        if path and not path.absolute().parent.is_dir():
            msg = f"{path}: its folder is missing, so nothing could be written there after the load: make it first"
            raise CannotStart(msg)


def _check_answered(summary: Summary, url: str) -> None:
    sent = summary.recall.sent + summary.store.sent
    if sent and sent == summary.recall.failed + summary.store.failed:
        msg = f"every request failed ({', '.join(summary.statuses)}): is the stack up at {url}, and the key right?"
        raise CannotStart(msg)


def _announce(plan: Plan) -> None:
    rate, span = plan.recalls_per_second + plan.stores_per_second, format_duration(timedelta(seconds=plan.seconds))
    click.echo(f"{rate:g} requests a second to {plan.url} for {span}; Ctrl-C ends it")


async def _run(traffic: Traffic, tell: Callable[[Summary], None]) -> Summary:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return await traffic.run(stop, tell)


def _tell(summary: Summary, output: str, *, last: bool = False) -> None:
    if output == "json":
        if last:
            click.echo(json.dumps(asdict(summary)))
        return
    parts = [
        f"{name} {one.sent} sent, p50 {one.p50_ms:.0f} p95 {one.p95_ms:.0f} p99 {one.p99_ms:.0f} ms, "
        f"{100 * one.over_budget_share:.1f} % over budget, {one.failed} failed"
        for name, one in (("recall", summary.recall), ("store", summary.store))
    ]
    dropped = f"; {summary.dropped} dropped" if summary.dropped else ""
    click.echo(f"{summary.seconds:6.1f} s  {'; '.join(parts)}{dropped}")
