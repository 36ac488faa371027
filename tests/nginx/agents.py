"""The agent's process between an API server of ours and a pod's supervisor."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from consul_nginx.model.bundle import Bundle
from consul_nginx.model.encoding import Encoded, encode
from nginx.api import FakeApi
from nginx.support import Pod, free_port, wait_for

REVISIONS = itertools.count(1763794000000)


class Agent:
    """The agent's process; ``put`` is what the operator would do."""

    def __init__(self, *, pod: Pod, api: FakeApi) -> None:
        self.pod, self.api, self.port = pod, api, free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.written: Encoded | None = None
        self.account = pod.root / "account"
        self.account.mkdir()
        (self.account / "token").write_text("first-token\n")

    @property
    def log(self) -> Path:
        return self.pod.root / "agent.log"

    def start(self) -> None:
        environ = {
            **os.environ,
            "CONFIGMAP_NAME": "edge-config",
            "POD_NAMESPACE": "web",
            "POD_NAME": "edge-1",
            "KUBERNETES_API_URL": f"http://127.0.0.1:{self.api.port}",
            "SERVICE_ACCOUNT_DIR": str(self.account),
            "CONSUL_NGINX_ROOT": str(self.pod.root),
            "AGENT_PORT": str(self.port),
        }
        with self.log.open("ab") as log:
            self.process = process = subprocess.Popen(
                [sys.executable, "-m", "consul_nginx.agent"], env=environ, stdout=log, stderr=log
            )
        wait_for(
            lambda: process.poll() is not None or self.get("/healthz")[0] == 200,
            why="the agent's port",
        )
        assert process.poll() is None, "the agent ended"

    def stop(self) -> int:
        assert self.process
        self.process.terminate()
        return self.process.wait(5)

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def status(self) -> dict[str, Any]:
        return json.loads(self.get("/status")[1])  # type: ignore[no-any-return]

    def metric(self, series: str) -> float | None:
        lines = self.get("/metrics")[1].splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(series)), None)

    def put(self, bundle: Bundle) -> int:
        return self.write(bundle).manifest.revision

    def write(self, bundle: Bundle) -> Encoded:
        before = self.written.manifest if self.written else None
        self.written = encode(bundle=bundle, revision=next(REVISIONS), previous=before)
        self.api.write(self.written)
        return self.written

    def serves(self, bundle: Bundle) -> Callable[[], bool]:
        return lambda: (self.status()["serving"] or {}).get("hash") == bundle.hash

    def rejection(self) -> dict[str, Any]:
        """The rejection, once the agent has looked for the files to blame."""

        def settled() -> dict[str, Any] | None:
            rejection = self.status()["rejection"]
            return rejection if rejection and rejection["files"] is not None else None

        return wait_for(settled, seconds=20, why="a rejection with its files")  # type: ignore[no-any-return]
