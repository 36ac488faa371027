"""A pod's processes outside a pod: real supervisor, real nginx, one temporary volume."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from consul_nginx.agent.supervisor import processes
from consul_nginx.model.bundle import Bundle
from consul_nginx.model.layout import Layout

CHECKOUT = Path(__file__).parents[2]


def nginx_binary() -> str:
    folder = Path(os.environ.get("CLUSTER_DIR") or CHECKOUT / ".cluster")
    path = os.environ.get("NGINX_BIN") or str(folder / "bin" / "nginx")
    if not os.access(path, os.X_OK):
        raise RuntimeError(f"no nginx at {path}: run `make nginx-binary`")
    with open(path, "rb") as file:
        if b"--argv0" in file.read(4096):
            # nginx writes its workers' titles over its argv, which then is the word "nginx" only.
            raise RuntimeError(
                f"{path} starts nginx with --argv0: no worker could be told by title"
            )
    return path


def wait_for(what: Callable[[], Any], *, seconds: float = 10.0, why: str = "") -> Any:
    """The first true answer; the only place where a test sleeps."""
    until = time.monotonic() + seconds
    while True:
        answer = what()
        if answer:
            return answer
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds} s: {why or what}")
        time.sleep(0.01)


_given: set[int] = set()


def free_port() -> int:
    """A port that nobody has on any address, for TCP and UDP, and a new one at each call.

    Not one that the kernel gives out: it could be a connection's own by the time nginx wants it.
    """
    while True:
        port = random.randrange(10_000, 30_000)
        if port in _given:
            continue
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            tcp.bind(("0.0.0.0", port))
            udp.bind(("0.0.0.0", port))
            _given.add(port)
            return port


def get(port: int, path: str = "/text", *, timeout: float = 5.0) -> str | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout) as answer:
            return answer.read().decode()
    except (OSError, urllib.error.HTTPError):
        return None


@dataclass
class Pod:
    """One volume with the supervisor's process on it."""

    binary: str
    root: Path
    arguments: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    @property
    def layout(self) -> Layout:
        return Layout(root=PurePosixPath(self.root))

    @property
    def log(self) -> Path:
        return self.root / "supervisor.log"

    def files(
        self, *, port: int, text: str = "one", http: str = "", backend: int = 9
    ) -> dict[str, str]:
        """A minimal configuration that keeps the contract of the renderer's."""
        own = self.layout.nginx
        temporary = "".join(
            f"  {kind}_temp_path {own}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return {
            "nginx.conf": (
                ("user root;\n" if os.geteuid() == 0 else "")
                + "worker_processes 2;\nworker_shutdown_timeout 10s;\n"
                f"pid {self.layout.pid_file};\n"
                "error_log stderr warn;\nevents { worker_connections 512; }\n"
                f"http {{\n{temporary}"
                "  access_log off;\n  keepalive_min_timeout 5s;\n"
                f"  server {{\n    listen unix:{self.layout.status_socket};\n"
                "    location = /hash { include hash.conf; }\n"
                "    location = /stub_status { stub_status; }\n  }\n"
                "  include endpoints-a.conf;\n  include http.conf;\n}\n"
            ),
            "endpoints-a.conf": f"upstream a {{ server 127.0.0.1:{backend}; }}\n",
            "http.conf": (
                f"{http}\nserver {{\n  listen 127.0.0.1:{port};\n"
                f'  location = /text {{ return 200 "{text}"; }}\n'
                "  location / { proxy_pass http://a; }\n}\n"
            ),
        }

    def bundle(self, **changes: Any) -> Bundle:
        return Bundle.of(self.files(**changes))

    def unpack(self, bundle: Bundle, *, age: float = 0.0) -> str:
        folder = self.root / "generated" / bundle.hash
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in bundle.files.items():
            (folder / name).write_text(text)
        moment = time.time() - age
        os.utime(folder, (moment, moment))
        return bundle.hash

    def start(self, *, namespace: bool = False) -> None:
        """``namespace``: as PID 1 of a PID namespace of its own, as in a container; needs root."""
        command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"] * namespace
        command += [sys.executable, "-m", "consul_nginx.agent.supervisor"]
        command += ["--root", str(self.root), "--nginx", self.binary, *self.arguments]
        with self.log.open("ab") as log:
            self.process = process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(
            lambda: process.poll() is not None or self.answers(), why="the supervisor's socket"
        )
        assert process.poll() is None, "the supervisor ended"

    def answers(self) -> bool:
        try:
            return bool(self.status()["ok"])
        except OSError:
            return False

    def ask(self, request: object, *, timeout: float = 60.0) -> dict[str, Any]:
        line = request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n"
        with self.connect(timeout=timeout) as client:
            client.sendall(line)
            return self.answer(client)

    def connect(self, *, timeout: float = 60.0) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(timeout)
        client.connect(str(self.layout.supervisor_socket))
        return client

    @staticmethod
    def answer(client: socket.socket) -> dict[str, Any]:
        with client.makefile("rb") as lines:
            return json.loads(lines.readline())  # type: ignore[no-any-return]

    def status(self) -> dict[str, Any]:
        return self.ask({"op": "status"})

    def load(self, bundle: Bundle, *, test: bool = True) -> dict[str, Any]:
        return self.ask({"op": "load", "hash": self.unpack(bundle), "test": test})

    def current(self) -> str:
        return os.path.basename(os.readlink(self.layout.current))

    def stop(self, *, number: int = signal.SIGTERM) -> int:
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(30)

    def remove(self) -> None:
        if self.process and self.process.poll() is None:
            self._kill_tree(self.process.pid)
        self._kill_left_overs()
        shutil.rmtree(self.root, ignore_errors=True)

    def _kill_tree(self, pid: int) -> None:
        """Read the tree first: when the supervisor is gone its children have another parent."""
        children = processes._children(pid)
        grandchildren = [pid for child in children for pid in processes._children(child)]
        for process in [pid, *children, *grandchildren]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        assert self.process
        self.process.wait()

    def _kill_left_overs(self) -> None:
        """nginx processes whose configuration is on our volume, and only those."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(Path(self.layout.pid_file).read_text())
            if str(self.root).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def pod_on_a_volume(*arguments: str) -> Iterator[Pod]:
    # Not pytest's tmp_path: a unix socket's path holds 107 bytes.
    pod = Pod(
        binary=nginx_binary(), root=Path(tempfile.mkdtemp(prefix="pod-")), arguments=[*arguments]
    )
    try:
        yield pod
    finally:
        pod.remove()
