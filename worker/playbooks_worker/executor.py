"""The process that runs agents: ``python -m playbooks_worker.executor FD PPID``, exec'ed by a supervisor, never forked.

Wiring: loads the programs, connects to Redis, and obeys what the supervisor says about its session. It must not outlive
its supervisor, who alone renews the session: the kernel kills it (Linux), a changed parent and a closed channel end it too.
It ends hard, since a crash runs no `finally` of a playbook.
"""

from __future__ import annotations

import asyncio
import ctypes
import math
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, NoReturn

import structlog

from playbooks_providers import logs
from playbooks_providers.clock import SystemClock
from playbooks_providers.envelope import Sealer
from playbooks_providers.redis import connect, wait_for
from playbooks_worker.channel import Broken, Channel, Message, Orders
from playbooks_worker.hold import Bench
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.programs import Program, ProgramError, load_all
from playbooks_worker.host.surroundings import Surroundings
from playbooks_worker.serving import Serving
from playbooks_worker.tracing import over_otlp

PR_SET_PDEATHSIG = 1
EXIT_BROKEN = 2
EXIT_ORPHANED = 70
EXIT_ESCAPED = 71

_log = structlog.get_logger()


def main() -> None:
    fd, parent = int(sys.argv[1]), int(sys.argv[2])
    die_with(parent)
    # To die of it at once, instead of raising KeyboardInterrupt somewhere inside a playbook. (Ctrl+C in a terminal does
    # not come here: executors have process groups of their own.)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.set_inheritable(fd, False)
    sys.argv = [sys.argv[0]]  # programs may read it
    # Line by line: what a program printed before a SIGKILL has been seen, and `dev` shows it when it happens.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.exit(run_hard(run(socket.socket(fileno=fd))))


def run_hard(coroutine: Coroutine[Any, Any, int]) -> int:
    """Like `asyncio.run`, but the loop goes on after a SystemExit, and what else escapes ends the process at once.

    A task that raises SystemExit ends with it *and* throws it out of the loop. It is the affair of whoever awaits that task
    (some agent, which fails of it), not of the other agents here. After anything else asyncio would cancel all tasks, and
    so run handlers and `finally` blocks of agents that nobody has marked dead.
    """
    runner = asyncio.Runner()
    loop = runner.get_loop()
    serving = loop.create_task(coroutine)
    while not serving.done():
        try:
            loop.run_until_complete(serving)
        except SystemExit as escaped:
            _log.warning("a task has raised SystemExit", code=str(escaped.code))
        except BaseException:
            traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(EXIT_ESCAPED)
    runner.close()
    return serving.result()


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; end now if that has happened before we could ask."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        orphaned()


def orphaned() -> NoReturn:
    """End now, with all that was started here. Nobody renews our session any more."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(EXIT_ORPHANED)


async def run(sock: socket.socket) -> int:
    channel = await Channel.over(sock)
    said = channel.heard()
    orders: Message = await anext(said, Broken("the supervisor is gone"))
    if not isinstance(orders, Orders):
        orphaned()
    logs.configure(
        orders.log_format, stdlib=["playbooks_worker", "opentelemetry"], worker=orders.worker, pid=os.getpid()
    )
    try:
        programs = load_all(orders.programs)
    except ProgramError as broken:
        channel.say(Broken(str(broken)))
        await channel.flush()
        return EXIT_BROKEN
    await host(channel, orders, programs, said)
    return 0


async def host(channel: Channel, orders: Orders, programs: Mapping[str, Program], said: AsyncIterator[Message]) -> None:
    """Put the parts together and serve until drained."""
    gate = Gate(time.monotonic, deadline=-math.inf)  # closed until there is a session
    home = connect(
        orders.redis_url,
        prefix=orders.redis_prefix,
        gate=gate,
        retention_s=orders.retention_s,
        wait=wait_for(orders.wait, orders.wait_replicas),
    )
    clock = SystemClock()
    around = Surroundings(
        home.checkpoints,
        Sealer.of(orders.signing_key, orders.encryption_keys),
        clock.now_ms,
        orders.keep_last_n,
        strict=orders.strict,
        max_bytes=orders.max_bytes,
        inbox_limit=orders.inbox_limit,
        park_after_s=orders.park_after_s,
        keep_events=orders.keep_events,
        keep_when_parked=orders.keep_when_parked,
        tracer=over_otlp(orders.worker) if orders.otel else None,
    )
    bench = Bench(home.coordination, around, programs)
    try:
        await Serving(channel, orders, bench, gate).serve(said, orphaned)
    finally:
        if around.tracer is not None:
            await asyncio.to_thread(around.tracer.close)
        await home.close()


if __name__ == "__main__":
    main()
