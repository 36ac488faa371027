"""``python -m consul_nginx.agent.supervisor``: wires the supervisor and runs it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import PurePosixPath

from consul_nginx.agent.logs import Log
from consul_nginx.agent.supervisor import modules
from consul_nginx.agent.supervisor.bundles import Bundles
from consul_nginx.agent.supervisor.children import Children
from consul_nginx.agent.supervisor.loop import Loop, Signals
from consul_nginx.agent.supervisor.nginx import Limits, Nginx
from consul_nginx.agent.supervisor.server import Server
from consul_nginx.agent.supervisor.supervisor import Supervisor
from consul_nginx.model.layout import Layout

_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)
_PR_SET_CHILD_SUBREAPER = 36


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="consul_nginx.agent.supervisor", description=__doc__)
    parser.add_argument("--root", type=PurePosixPath, default=Layout().root, help="shared volume")
    parser.add_argument("--nginx", default="nginx", help="nginx's binary")
    parser.add_argument(
        "--test-timeout", type=float, default=Limits.test, help="seconds for nginx -t"
    )
    parser.add_argument(
        "--verify-timeout",
        type=float,
        default=Limits.verify,
        help="seconds until the new workers must have taken over",
    )
    return parser.parse_args(argv)


def _which(name: str) -> str | None:
    """As ``shutil.which``, whose import of compression libraries costs 1 MB."""
    folders = [""] if "/" in name else os.get_exec_path()
    paths = (os.path.join(folder, name) for folder in folders)
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def _become_subreaper() -> None:
    """Outside a container: orphaned workers come to us, as they come to PID 1 inside one."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _make_folder(layout: Layout) -> None:
    os.makedirs(layout.nginx, exist_ok=True)
    # The group reads, and what is made inside has the group.
    os.chmod(layout.nginx, 0o2750)  # noqa: S103
    os.makedirs(layout.temp, mode=0o750, exist_ok=True)


def _give_up(log: Log, *, reason: str) -> int:
    log.error("can't start", reason=reason)
    return 1


def main(argv: list[str]) -> int:
    """Run until stopped; returns the exit code."""
    arguments = _arguments(argv)
    log = Log(component="supervisor")
    os.umask(0o027)
    binary = _which(arguments.nginx)
    if not binary:
        return _give_up(log, reason=f"there is no nginx at {arguments.nginx}")
    try:
        directives = modules.directives(modules.build_of(binary))
    except OSError as error:
        return _give_up(log, reason=f"nginx can't be run: {error}")
    if os.getpid() != 1:
        _become_subreaper()
    layout, loop, children = Layout(root=arguments.root), Loop(), Children()
    signals = Signals(loop=loop, signals=_SIGNALS)
    bundles = Bundles(layout=layout)
    nginx = Nginx(
        binary=binary,
        directives=directives,
        layout=layout,
        bundles=bundles,
        loop=loop,
        children=children,
        clock=time.monotonic,
        limits=Limits(test=arguments.test_timeout, verify=arguments.verify_timeout),
    )
    supervisor = Supervisor(
        nginx=nginx,
        bundles=bundles,
        loop=loop,
        signals=signals,
        children=children,
        clock=time.monotonic,
        log=log,
    )
    try:
        _make_folder(layout)
        server = Server(loop=loop, path=str(layout.supervisor_socket), handle=supervisor.handle)
    except OSError as error:
        return _give_up(log, reason=str(error))
    supervisor.run()
    server.close()
    log.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
