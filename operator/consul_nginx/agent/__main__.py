"""``python -m consul_nginx.agent``: wires the agent and runs it until it is told to stop.

nginx goes on without it: as a native sidecar the agent is terminated after the nginx container, so
it has nothing to wait for.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from importlib import metadata

from consul_nginx.agent import memory, web
from consul_nginx.agent.api import ConfigMapSource
from consul_nginx.agent.blame import Blame
from consul_nginx.agent.logs import Log
from consul_nginx.agent.metrics import Metrics
from consul_nginx.agent.pipeline import Pipeline
from consul_nginx.agent.secret_files import SecretFiles
from consul_nginx.agent.settings import Settings, SettingsError
from consul_nginx.agent.shards import Shards
from consul_nginx.agent.supervisor_client import SupervisorClient
from consul_nginx.agent.unpack import Store, Trials


def _version() -> str:
    try:
        return metadata.version("consul-nginx-operator")
    except metadata.PackageNotFoundError:
        return "unknown"


async def run(*, settings: Settings, log: Log) -> None:
    """Until cancelled; raises ``OSError`` when the port or the volume can't be used."""
    store = Store(layout=settings.layout)
    store.prepare()
    secrets = SecretFiles(settings=settings)
    secrets.prepare()
    metrics = Metrics(state=lambda: pipeline.state, version=_version())
    supervisor = SupervisorClient(path=str(settings.layout.supervisor_socket))
    trials = Trials(layout=settings.layout)
    trials.clear()
    pipeline = Pipeline(
        store=store,
        shards=Shards(settings=settings),
        secrets=secrets,
        supervisor=supervisor,
        blame=Blame(store=store, trials=trials, supervisor=supervisor, metrics=metrics, log=log),
        metrics=metrics,
        log=log,
    )
    source = ConfigMapSource(settings=settings, deliver=pipeline.offer, metrics=metrics, log=log)
    app = web.application(settings=settings, state=lambda: pipeline.state, metrics=metrics)
    runner = await web.serve(app, port=settings.port)
    log.info("started", pod=settings.pod, configmap=settings.configmap, port=settings.port)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(source.run())
            tasks.create_task(pipeline.run())
    finally:
        await runner.cleanup()


async def _run_until_signal(*, settings: Settings, log: Log) -> None:
    task = asyncio.current_task()
    # SIGQUIT: the image's STOPSIGNAL, which is for nginx, is what a kubelet sends here too.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        asyncio.get_running_loop().add_signal_handler(number, lambda: task and task.cancel())
    with suppress(asyncio.CancelledError):
        await run(settings=settings, log=log)


def _give_up(log: Log, error: Exception) -> int:
    log.error("can't start", reason=str(error))
    return 1


def main() -> int:
    """Return the exit code."""
    log = Log(component="agent")
    memory.give_back()
    os.umask(0o027)
    try:
        settings = Settings.from_env(os.environ)
        asyncio.run(_run_until_signal(settings=settings, log=log))
    except (SettingsError, OSError) as error:
        return _give_up(log, error)
    log.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
