"""`python -m benchmarks`: measure everything, show it beside its target, and write docs/benchmarks.md. Wiring."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import structlog

from benchmarks import engine, kills, parking, rates, replicas, report, talking, workload
from benchmarks.figures import Figure, Raw
from playbooks_providers.testing import redis_server
from playbooks_worker.host.programs import load

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks.md"
_PARTS = ["engine", "rates", "replicas", "talking", "parking", "kills"]


async def measure(arguments: argparse.Namespace) -> report.Run:
    load_before = os.getloadavg()[0]
    program = load(workload.__file__)
    figures: list[Figure] = []
    raw: Raw | None = None
    if "engine" in arguments.only:
        _say("the engine, in memory")
        figures += await engine.measure(program, rounds=arguments.rounds)
    if "rates" in arguments.only:
        _say("rates on Redis")
        with redis_server() as server:
            more, raw = await rates.measure(server.url, program, rounds=4 * arguments.rounds, awaits=1500)
            figures += more
    if "replicas" in arguments.only:
        _say("rates on Redis, with a replica")
        figures += await replicas.measure(program, rounds=2 * arguments.rounds, awaits=1000)
    if "talking" in arguments.only:
        _say("agents that talk")
        with redis_server() as server:
            figures += await talking.measure(server.url, rounds=2 * arguments.rounds)
    if "parking" in arguments.only:
        _say("parked agents")
        with redis_server() as server:
            figures += await parking.measure(server.url, agents=arguments.parked)
    with tempfile.TemporaryDirectory(prefix="playbooks-bench-") as name:
        for what, times, run in (
            ("executors", arguments.kills, kills.kill_executors),
            ("workers", arguments.worker_kills, kills.kill_workers),
        ):
            if times and "kills" in arguments.only:
                _say(f"kill -9 of {what}")
                folder = Path(name) / what
                folder.mkdir()
                figures += await run(folder, times)
    return report.Run(figures, raw, _server(), load_before)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")
    parser.add_argument("--no-docs", action="store_true", help=f"leave {DOCS.name} as it is")
    parser.add_argument(
        "--only", action="append", choices=_PARTS, help=f"a part, again for more; leaves {DOCS.name} as it is [all]"
    )
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of each measurement [5]")
    parser.add_argument("--kills", type=int, default=25, help="executors to kill, 0 for none [25]")
    parser.add_argument("--worker-kills", type=int, default=6, help="whole workers to kill, 0 for none [6]")
    parser.add_argument("--parked", type=int, default=2000, help="agents to park, 400 or more [2000]")
    arguments = parser.parse_args()
    in_part = arguments.only is not None
    arguments.only = arguments.only or _PARTS
    if _binary() is None and arguments.only != ["engine"]:
        sys.stderr.write("error: no redis-server or valkey-server on PATH: install one (Debian: redis-server)\n")
        return 2
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    run = asyncio.run(measure(arguments))
    if arguments.json:
        print(report.as_json(run))
    else:
        report.show(run)
    if not arguments.no_docs and not in_part:
        report.write(run, DOCS)
        _say(f"written: {DOCS}")
    return 0


def _binary() -> str | None:
    return shutil.which("redis-server") or shutil.which("valkey-server")


def _server() -> str:
    binary = _binary()
    if binary is None:
        return "no Redis"
    words = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.split()
    version = next((word.removeprefix("v=") for word in words if word.startswith("v=")), "")
    return f"{Path(binary).name} {version}"


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
