"""TCP connections at a constant rate: each asks who answers, and is closed.

Nothing is tried again, and every failure is kept with its time.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cluster.support.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

QUESTION = b"who\n"
TIMEOUT_S = 10.0


@contextmanager
def tcp_traffic(
    *,
    addresses: Sequence[str],
    rate: int = 100,
    name_of: Callable[[bytes], str] = lambda line: line.decode().strip(),
) -> Iterator[Traffic]:
    """Make ``rate`` connections per second to ``addresses`` (``IP:PORT``) in turns.

    The instance behind must answer ``QUESTION`` with one line, in which ``name_of`` finds its name.
    At the end every connection has been answered or has failed.
    """
    result, stop = Traffic(), threading.Event()

    async def connect_all() -> None:
        due = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                address = addresses[result.requests % len(addresses)]
                result.requests += 1
                group.create_task(_ask(address=address, result=result, name_of=name_of))
                due += 1 / rate
                await asyncio.sleep(max(due - time.monotonic(), 0))

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="tcp-traffic") as pool:
        sending = pool.submit(lambda: asyncio.run(connect_all()))
        try:
            yield result
        finally:
            stop.set()
        sending.result()


async def _ask(*, address: str, result: Traffic, name_of: Callable[[bytes], str]) -> None:
    host, _, port = address.rpartition(":")
    sent = result.elapsed()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            try:
                writer.write(QUESTION)
                answer = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        result.failed(f"{type(error).__name__}: {error}", sent=sent)
        return
    if answer.endswith(b"\n"):
        result.took(pod=name_of(answer))
    else:
        result.failed(f"closed after {answer!r}", sent=sent)
