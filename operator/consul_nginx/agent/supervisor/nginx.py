"""One nginx: its master, its workers and their generations, and its status socket."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consul_nginx.agent.supervisor import processes, words
from consul_nginx.agent.supervisor.children import Child, Children
from consul_nginx.agent.supervisor.probe import HashQuery
from consul_nginx.agent.supervisor.protocol import Failure, Stage

if TYPE_CHECKING:
    from consul_nginx.agent.supervisor.bundles import Bundles
    from consul_nginx.agent.supervisor.loop import Loop
    from consul_nginx.model.layout import Layout

Clock = Callable[[], float]

_SHORTEST_PAUSE = 0.002
_LONGEST_PAUSE = 0.05
# A worker that got QUIT closes its listening sockets at once, unless it is stuck.
_ORPHANS_MAY_TAKE = 1.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long nginx may take, in seconds. A time-out is a failure, never a warning."""

    test: float = 30.0
    trial: float = 10.0
    verify: float = 15.0


def pause(*, waited: float) -> float:
    """Until the next look: 2 ms, then a tenth of what we waited already, at most 50 ms."""
    return min(max(waited / 10, _SHORTEST_PAUSE), _LONGEST_PAUSE)


class Nginx:
    """Starts, tests and reloads nginx. Long steps are generators that yield how long to wait.

    ``directives`` come before those of every bundle (``modules``); nginx keeps what ``-g`` says
    over every HUP.
    """

    def __init__(
        self,
        *,
        binary: str,
        directives: str,
        layout: Layout,
        bundles: Bundles,
        loop: Loop,
        children: Children,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self.reloads = 0
        self.master: Child | None = None
        self._test: Child | None = None
        self._binary = binary
        self._directives = directives
        self._layout = layout
        self._bundles = bundles
        self._loop = loop
        self._children = children
        self._clock = clock
        self._limits = limits
        self._generation = 0
        self._generations: dict[int, int] = {}
        self._emergencies: list[words.Emergency] = []

    @property
    def running(self) -> bool:
        """Whether there is a master."""
        return self.master is not None and self.master.running

    def workers(self) -> list[dict[str, object]]:
        """The master's workers, as ``status`` tells them."""
        return [
            {
                "pid": worker.pid,
                "shutting_down": worker.shutting_down,
                "generation": self._generations[worker.pid],
            }
            for worker in self._look()
        ]

    def signal(self, number: int) -> None:
        """Send a signal to the master and to workers that lost theirs."""
        if self.master:
            self.master.signal(number)
        for orphan in self.orphans():
            _kill(orphan.pid, number)

    def orphans(self) -> list[processes.Worker]:
        """Workers whose master was killed: they are our children now."""
        return processes.workers_of(os.getpid())

    def abandon_test(self) -> None:
        """End ``nginx -t`` when nobody waits for it any more."""
        if self._test:
            self._test.signal(signal.SIGKILL)

    def test(self, digest: str) -> Generator[float, None, Failure | None]:
        """``nginx -t`` on a bundle, within its time."""
        return self._run_test(self._bundles.main_file(digest), within=self._limits.test)

    def try_out(self, digest: str) -> Generator[float, None, Failure | None]:
        """``nginx -t`` on a trial; nobody is to read its words in nginx's log."""
        return self._run_test(
            self._bundles.trial_file(digest), within=self._limits.trial, quiet=True
        )

    def _run_test(
        self, main_file: str, *, within: float, quiet: bool = False
    ) -> Generator[float, None, Failure | None]:
        argv = self._argv(main_file, self._directives, "-t")
        started = self._clock()
        self._test = child = self._children.add(Child(loop=self._loop, argv=argv, quiet=quiet))
        while child.running:
            waited = self._clock() - started
            if waited > within:
                child.signal(signal.SIGKILL)
                return Failure(stage="test", output=f"nginx -t took longer than {within:g} s")
            yield pause(waited=waited)
        if child.status == 0:
            return None
        return Failure(stage="test", output=words.quote(list(child.lines)))

    def _argv(self, main_file: str, directives: str, *more: str) -> list[str]:
        return [self._binary, "-e", "stderr", *more, "-c", main_file, "-g", directives]

    def start(self, digest: str) -> Generator[float, None, Failure | None]:
        """Start on ``current``, which points to ``digest``; a failed start leaves no process."""
        yield from self._dismiss_orphans()
        self._remove_stale_files()
        self._generation += 1
        self._emergencies = []
        main_file = f"{self._layout.current}/nginx.conf"
        argv = self._argv(main_file, f"daemon off; {self._directives}")
        self.master = self._children.add(
            Child(loop=self._loop, argv=argv, on_line=self._notice_emergency)
        )
        failure = yield from self._verify(digest, older=frozenset(), stage="start")
        if failure:
            yield from self._stop_master()
        return failure

    def reload(self, digest: str) -> Generator[float, None, Failure | None]:
        """HUP, and the proof that ``digest``, which ``current`` points to, was applied."""
        master = self.master
        if not master:
            return Failure(stage="reload", output="nginx does not run")
        older = frozenset(worker.pid for worker in self._look())
        master.drain()
        self._generation += 1
        self._emergencies = []
        self.reloads += 1
        master.signal(signal.SIGHUP)
        return (yield from self._verify(digest, older=older, stage="reload"))

    def _verify(
        self, digest: str, *, older: frozenset[int], stage: Stage
    ) -> Generator[float, None, Failure | None]:
        """Applied: a new worker answers the hash, and no older one still takes connections."""
        answered: str | None = None
        started = self._clock()
        while True:
            failure = self._refused(stage)
            if failure:
                return failure
            active = {worker.pid for worker in self._look() if not worker.shutting_down}
            _relieve(active=active, older=older)
            missing = _missing(active=active, older=older)
            if not missing:
                answer = yield from self._ask_hash(until=started + self._limits.verify)
                if answer == digest:
                    return None
                answered = answer or answered
                missing = f"nginx answers the hash {answered}"
            waited = self._clock() - started
            if waited > self._limits.verify:
                said = [emergency.text for emergency in self._emergencies]
                output = words.quote([*said, f"after {self._limits.verify:g} s: {missing}"])
                return Failure(
                    stage="start" if stage == "start" else "verify",
                    output=output,
                    half_applied=True,
                )
            yield pause(waited=waited)

    def _refused(self, stage: Stage) -> Failure | None:
        master = self.master
        if master and not master.running:
            said = words.quote(list(master.lines)) or "nginx said nothing"
            return Failure(stage=stage, output=said)
        final = [emergency for emergency in self._emergencies if emergency.final]
        if not final or stage == "start":  # a start that fails ends with the process
            return None
        return Failure(
            stage=stage,
            output=words.quote([emergency.text for emergency in self._emergencies]),
            # What a *worker* can't do comes after the master has taken the new configuration.
            half_applied=any(master and line.pid != master.pid for line in final),
        )

    def _ask_hash(self, *, until: float) -> Generator[float, None, str | None]:
        query = HashQuery(loop=self._loop, path=str(self._layout.status_socket))
        try:
            while not query.done and self._clock() < until and self.running:
                yield _SHORTEST_PAUSE
        finally:
            query.close()
        return query.answer

    def _look(self) -> list[processes.Worker]:
        workers = processes.workers_of(self.master.pid) if self.master and self.running else []
        self._generations = {
            worker.pid: self._generations.get(worker.pid, self._generation) for worker in workers
        }
        return workers

    def _notice_emergency(self, line: str) -> None:
        found = words.emergency(line)
        if found and len(self._emergencies) < 20:
            self._emergencies.append(found)

    def _dismiss_orphans(self) -> Generator[float, None, None]:
        """QUIT them: they release their ports at once and drain; those that don't are killed."""
        started = self._clock()
        for orphan in self.orphans():
            _kill(orphan.pid, signal.SIGQUIT)
        while stuck := [orphan for orphan in self.orphans() if not orphan.shutting_down]:
            if self._clock() - started > _ORPHANS_MAY_TAKE:
                for orphan in stuck:
                    _kill(orphan.pid, signal.SIGKILL)
                return
            yield _SHORTEST_PAUSE

    def _remove_stale_files(self) -> None:
        folder = str(self._layout.nginx)
        keep = os.path.basename(self._layout.supervisor_socket)
        pid_file = os.path.basename(self._layout.pid_file)
        for name in os.listdir(folder):
            if name == pid_file or (name.endswith(".sock") and name != keep):
                with suppress(FileNotFoundError):
                    os.unlink(f"{folder}/{name}")

    def _stop_master(self) -> Generator[float, None, None]:
        started = self._clock()
        number = signal.SIGTERM
        while self.master and self.master.running:
            self.master.signal(number)
            yield _LONGEST_PAUSE
            if self._clock() - started > _ORPHANS_MAY_TAKE:
                number = signal.SIGKILL


def _missing(*, active: set[int], older: frozenset[int]) -> str | None:
    """What an observer still misses before a reload counts as applied."""
    accepting = sorted(active & older)
    if accepting:
        return f"workers {accepting} of an older generation still take connections"
    if not active - older:
        return "no worker of the new generation"
    return None


def _relieve(*, active: set[int], older: frozenset[int]) -> None:
    """Have older workers drain as soon as as many new ones take connections.

    The master tells them 100 ms after it has started the new ones (``ngx_process_cycle.c``). Until
    then the kernel hands new connections to the older ones first: they are first in the line. A
    worker has its title, by which we know it, only once it waits for connections.
    """
    accepting = active & older
    if accepting and len(active - older) >= len(accepting):
        for pid in accepting:
            _kill(pid, signal.SIGQUIT)


def _kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
