"""Files of Secrets: the agent has them before nginx hears of the bundle that names them."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import ssl
import stat
from base64 import b64encode
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from consul_nginx.model.bundle import Bundle
from consul_nginx.model.certificates import Certificate
from consul_nginx.model.secret_files import (
    NO_CERTIFICATE,
    TLS_KEYS,
    SecretFile,
    SecretKind,
    sha256_of,
)
from consul_nginx.resources.tls_secret import parse_tls_secret
from consul_nginx.resources.users_secret import parse_users_secret
from nginx.agents import Agent
from nginx.support import free_port, get, wait_for
from nginx.tls import greet
from unit.certificates import Issued, issued, tls_secret
from unit.users import credentials, users_secret


@pytest.fixture
def secure_port() -> int:
    return free_port()


def tls_bundle(
    agent: Agent, port: int, secure_port: int, certificate: Certificate, text: str = "one"
) -> Bundle:
    """A listener of its own for a certificate, beside plain HTTP."""
    server = (
        f"server {{\n  listen 127.0.0.1:{secure_port} ssl;\n  include certificate-a.conf;\n"
        f'  return 200 "secure";\n}}\n'
    )
    path = f"{agent.pod.layout.secrets}/{certificate.file.name}"
    files = agent.pod.files(port=port, text=text, http=server)
    files["certificate-a.conf"] = f"ssl_certificate {path};\nssl_certificate_key {path};\n"
    return Bundle.of(files, secrets=[certificate.file])


def users_bundle(
    agent: Agent, port: int, closed_port: int, users: SecretFile, text: str = "one"
) -> Bundle:
    """A listener for the users of a Secret, beside one for everybody."""
    server = (
        f"server {{\n  listen 127.0.0.1:{closed_port};\n  location / {{\n"
        '    auth_basic "x";\n    include users-a.conf;\n    stub_status;\n  }\n}\n'
    )
    path = f"{agent.pod.layout.secrets}/{users.name}"
    files = agent.pod.files(port=port, text=text, http=server)
    files["users-a.conf"] = f"auth_basic_user_file {path};\n"
    return Bundle.of(files, secrets=[users])


def put_users(agent: Agent, **passwords: str) -> SecretFile:
    raw = users_secret("admins", **passwords)
    agent.api.put_secret(raw)
    return parse_users_secret(raw)


def login(port: int, user: str, password: str) -> int:
    """The status of the answer, on a connection of its own."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", "/", headers={"Authorization": credentials(user, password)})
        return connection.getresponse().status


def put_secret(agent: Agent, made: Issued, name: str = "web-tls") -> Certificate:
    raw = tls_secret(name, made)
    agent.api.put_secret(raw)
    return parse_tls_secret(raw)


def files_of(agent: Agent) -> list[Path]:
    return sorted(Path(agent.pod.layout.secrets).iterdir())


def test_a_rotated_certificate_is_served_and_the_old_file_is_kept_for_the_way_back(
    agent: Agent, port: int, secure_port: int
) -> None:
    served = []
    for _ in range(2):
        made = issued("a.example.com")
        certificate = put_secret(agent, made)
        agent.put(bundle := tls_bundle(agent, port, secure_port, certificate))
        wait_for(agent.serves(bundle))
        assert greet(secure_port, None).serial == made.certificate.serial_number
        served.append(certificate.file.name)
    assert [path.name for path in files_of(agent)] == sorted(served)
    assert agent.status()["rejection"] is None


def test_files_that_no_bundle_needs_go_with_the_bundle(
    agent: Agent, port: int, secure_port: int
) -> None:
    names = []
    for _ in range(6):
        certificate = put_secret(agent, issued("a.example.com"))
        agent.put(bundle := tls_bundle(agent, port, secure_port, certificate))
        wait_for(agent.serves(bundle))
        names.append(certificate.file.name)
    wait_for(lambda: len(files_of(agent)) <= 4, why="old files go")
    assert {path.name for path in files_of(agent)} <= set(names[-4:])


def test_keys_are_for_nginxs_group_and_for_nobody_else(
    agent: Agent, port: int, secure_port: int
) -> None:
    agent.put(bundle := tls_bundle(agent, port, secure_port, put_secret(agent, issued("a"))))
    wait_for(agent.serves(bundle))
    [file] = files_of(agent)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o750
    assert "PRIVATE" not in agent.log.read_text()
    assert "PRIVATE" not in json.dumps(agent.status())


def test_a_secret_that_comes_late_is_waited_for(agent: Agent, port: int, secure_port: int) -> None:
    raw = tls_secret("web-tls", issued("a.example.com"))
    bundle = tls_bundle(agent, port, secure_port, parse_tls_secret(raw))
    agent.put(bundle)
    rejection = agent.rejection()
    assert (rejection["stage"], rejection["hash"]) == ("secret", bundle.hash)
    assert rejection["message"] == "Secret web-tls: it does not exist"
    assert agent.status()["serving"] is None
    agent.api.put_secret(raw)
    wait_for(agent.serves(bundle))
    assert agent.status()["rejection"] is None
    assert greet(secure_port, None).version


def test_without_its_secret_the_rest_of_a_bundle_is_served_and_the_secret_repairs_it(
    agent: Agent, port: int, secure_port: int
) -> None:
    raw = tls_secret("web-tls", issued("a.example.com"))
    bundle = tls_bundle(agent, port, secure_port, parse_tls_secret(raw))
    revision = agent.put(bundle)
    wait_for(lambda: agent.status()["serving"], seconds=20, why="what needs no Secret is served")
    assert get(port) == "one"
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        greet(secure_port, None)
    status = agent.status()
    assert status["serving"]["revision"] == revision
    assert (status["rejection"]["stage"], status["rejection"]["files"]) == ("secret", [])
    assert agent.get("/readyz")[0] == 200
    folder = agent.pod.root / "generated" / status["serving"]["hash"]
    assert (folder / "certificate-a.conf").read_text() == NO_CERTIFICATE
    agent.api.put_secret(raw)
    wait_for(agent.serves(bundle))
    assert greet(secure_port, None).version
    assert agent.status()["rejection"] is None


def test_a_certificate_that_cannot_be_had_leaves_the_one_before_it_in_force(
    agent: Agent, port: int, secure_port: int
) -> None:
    made = issued("a.example.com")
    agent.put(tls_bundle(agent, port, secure_port, put_secret(agent, made)))
    wait_for(lambda: get(port) == "one")
    other = parse_tls_secret(tls_secret("web-tls", issued("a.example.com")))
    agent.put(tls_bundle(agent, port, secure_port, other, text="two"))
    wait_for(lambda: get(port) == "two", seconds=20, why="the rest of the bundle")
    assert greet(secure_port, None).serial == made.certificate.serial_number
    rejection = agent.status()["rejection"]
    assert rejection["stage"] == "secret"
    assert "holds something else than this revision was made for" in rejection["message"]


def test_of_two_certificates_for_the_same_names_the_one_that_is_here_is_shown(
    agent: Agent, port: int, secure_port: int
) -> None:
    made = issued("a.example.com")
    one = put_secret(agent, made)
    missing = parse_tls_secret(tls_secret("web-rsa", issued("a.example.com")))
    bundle = tls_bundle(agent, port, secure_port, one)
    path = f"{agent.pod.layout.secrets}/{missing.file.name}"
    both = (
        f"{bundle.files['certificate-a.conf']}"
        f"ssl_certificate {path};\nssl_certificate_key {path};\n"
    )
    files = {**bundle.files, "certificate-a.conf": both}
    agent.put(Bundle.of(files, secrets=[one.file, missing.file]))
    wait_for(lambda: get(port) == "one", seconds=20, why="what needs no Secret is served")
    assert greet(secure_port, None).serial == made.certificate.serial_number
    assert agent.rejection()["message"] == "Secret web-rsa: it does not exist"


def test_a_bundle_that_goes_back_to_an_earlier_certificate_needs_no_secret_for_it(
    agent: Agent, port: int, secure_port: int
) -> None:
    first = issued("a.example.com")
    one = tls_bundle(agent, port, secure_port, put_secret(agent, first))
    agent.put(one)
    wait_for(agent.serves(one))
    two = tls_bundle(agent, port, secure_port, put_secret(agent, issued("a.example.com")))
    agent.put(two)
    wait_for(agent.serves(two))
    agent.api.delete_secret("web-tls")
    agent.put(one)
    wait_for(agent.serves(one))
    assert greet(secure_port, None).serial == first.certificate.serial_number


def test_what_a_killed_agent_left_half_written_is_removed(
    agent: Agent, port: int, secure_port: int
) -> None:
    agent.stop()
    (Path(agent.pod.layout.secrets) / f"{'0' * 64}.tmp1-0").write_text("half")
    agent.start()
    assert files_of(agent) == []


def test_while_a_secret_is_missing_nginx_is_left_alone(
    agent: Agent, port: int, secure_port: int
) -> None:
    raw = tls_secret("web-tls", issued("a.example.com"))
    agent.put(tls_bundle(agent, port, secure_port, parse_tls_secret(raw)))
    wait_for(lambda: agent.status()["serving"], seconds=20)
    folder = agent.pod.root / "generated" / agent.status()["serving"]["hash"]
    os.utime(folder, (1, 1))
    wait_for(lambda: folder.stat().st_mtime > 1, seconds=20, why="another try")
    assert agent.status()["nginx"]["reloads"] == 0


def test_a_certificate_that_nginx_refuses_is_blamed_and_the_one_before_it_served_on(
    agent: Agent, port: int, secure_port: int
) -> None:
    made = issued("a.example.com")
    agent.put(one := tls_bundle(agent, port, secure_port, put_secret(agent, made)))
    wait_for(agent.serves(one))
    raw = tls_secret("web-tls", made)
    raw["data"] = {key: b64encode(f"no {key}".encode()).decode() for key in TLS_KEYS}
    agent.api.put_secret(raw)
    file = SecretFile(
        secret="web-tls", kind=SecretKind.TLS, sha256=sha256_of(b"no tls.crt\nno tls.key\n")
    )
    broken = replace(parse_tls_secret(tls_secret("web-tls", made)), file=file)
    agent.put(tls_bundle(agent, port, secure_port, broken))
    rejection = agent.rejection()
    assert (rejection["stage"], rejection["files"]) == ("test", ["certificate-a.conf"])
    assert "cannot load certificate" in rejection["message"]
    assert greet(secure_port, None).serial == made.certificate.serial_number


def test_a_missing_secret_holds_up_a_new_pod_once_and_not_at_each_change(
    agent: Agent, port: int, secure_port: int
) -> None:
    """A pod that starts while a Secret is broken, in front of services that change all the time."""
    certificate = parse_tls_secret(tls_secret("web-tls", issued("a.example.com")))
    numbers = itertools.count()

    def serves_after_one_more_change() -> bool:
        text = f"change {next(numbers)}"
        agent.put(tls_bundle(agent, port, secure_port, certificate, text=text))
        return get(port) is not None

    wait_for(serves_after_one_more_change, seconds=30, why="it serves the rest")


def test_users_are_let_in_by_their_passwords_and_by_new_ones_when_the_secret_changes(
    agent: Agent, port: int, secure_port: int
) -> None:
    agent.put(bundle := users_bundle(agent, port, secure_port, put_users(agent, alice="one")))
    wait_for(agent.serves(bundle))
    assert (login(secure_port, "alice", "one"), login(secure_port, "alice", "two")) == (200, 401)
    agent.put(bundle := users_bundle(agent, port, secure_port, put_users(agent, alice="two")))
    wait_for(agent.serves(bundle))
    wait_for(lambda: login(secure_port, "alice", "two") == 200)
    wait_for(lambda: login(secure_port, "alice", "one") == 401)
    assert stat.S_IMODE(files_of(agent)[0].stat().st_mode) == 0o640


def test_without_their_secret_nobody_is_let_in_and_the_rest_is_served(
    agent: Agent, port: int, secure_port: int
) -> None:
    users = put_users(agent, alice="one")
    agent.api.delete_secret("admins")
    agent.put(users_bundle(agent, port, secure_port, users))
    wait_for(lambda: get(port) == "one", seconds=20, why="what needs no Secret is served")
    assert login(secure_port, "alice", "one") == 503
    assert agent.rejection()["message"] == "Secret admins: it does not exist"


def test_users_that_can_not_be_had_leave_those_before_them_in_force(
    agent: Agent, port: int, secure_port: int
) -> None:
    agent.put(bundle := users_bundle(agent, port, secure_port, put_users(agent, alice="one")))
    wait_for(agent.serves(bundle))
    others = parse_users_secret(users_secret("admins", alice="two"))
    agent.put(users_bundle(agent, port, secure_port, others, text="two"))
    wait_for(lambda: get(port) == "two", seconds=20, why="the rest of the bundle")
    assert (login(secure_port, "alice", "one"), login(secure_port, "alice", "two")) == (200, 401)


def test_a_worker_that_drains_still_knows_the_users_of_its_bundle(
    agent: Agent, port: int, secure_port: int
) -> None:
    """nginx opens their file at each request, and a worker of before answers until it is over."""
    first = put_users(agent, alice="one")
    agent.put(bundle := users_bundle(agent, port, secure_port, first))
    wait_for(agent.serves(bundle))
    for number in range(6):
        users = put_users(agent, alice="one", more=str(number))
        agent.put(bundle := users_bundle(agent, port, secure_port, users))
        wait_for(agent.serves(bundle))
    path = Path(agent.pod.layout.secrets) / first.name
    assert first.name not in "".join(
        file.read_text() for file in agent.pod.root.glob("generated/*/users-a.conf")
    )
    assert path.exists()
    os.utime(path, (1, 1))
    agent.put(users_bundle(agent, port, secure_port, users, text="two"))
    wait_for(lambda: not path.exists(), why="a file that nobody reads any more goes")
