"""Who is let in by password: what is in force, and what people are told when nothing is."""

from __future__ import annotations

from base64 import b64encode

import pytest

from consul_nginx.kube.errors import KubeRefused, KubeUnavailable
from consul_nginx.kube.state import State, decode_state, encode_state
from consul_nginx.loops.users import users_in
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.model.layout import Layout
from consul_nginx.model.secret_files import NO_USERS, SecretFile, SecretKind
from consul_nginx.model.users import UsersFinding, users_id
from consul_nginx.nginx.render import render
from consul_nginx.nginx.substitute import substitute
from consul_nginx.nginx.tokens import UnsafeTokenError, realm
from consul_nginx.plan.users import NO_USERS as NOBODY
from consul_nginx.plan.users import Users, resolve_users, users_secrets
from unit.factories import load_balancer, mapping, planned
from unit.test_users_secret import BCRYPT, secret

AUTH = {"basicAuth": {"secretRef": {"name": "admins"}}}
FILE = f"users-{users_id('admins')}.conf"
REF = ObjectRef(namespace="shop", name="admins")
BROKEN = UsersFinding(problem="auth, line 2: its hash is not whole")
GONE = UsersFinding(problem="it does not exist", gone=True)


def file(digest="1"):
    return SecretFile(secret="admins", kind=SecretKind.USERS, sha256=digest * 64)


def plan(users=NOBODY, *, meta=None, balancer=None, **spec):
    return planned(
        load_balancer=balancer or load_balancer(),
        mappings=[mapping(meta=meta, **{**AUTH, **spec})],
        snapshot={},
        users=users,
    )


def verdict(found):
    [(_, one)] = found.mappings
    return one


def files(found):
    return render(configuration=found.configuration, layout=Layout()).files


def test_what_a_secret_says_is_in_force_and_named_by_its_hash_alone():
    users = resolve_users(findings={"admins": UsersFinding(file=file())}, remembered={})
    bundle = render(configuration=plan(users).configuration, layout=Layout())
    assert bundle.files[FILE] == (
        f"auth_basic_user_file /run/consul-nginx/secrets/{'1' * 64}.htpasswd;\n"
    )
    assert bundle.secrets == (file(),)
    assert users.problems == {}


@pytest.mark.parametrize(
    ("finding", "remembered", "expected", "words"),
    [
        (BROKEN, {}, {}, "requests get 503 until then"),
        (GONE, {}, {}, "requests get 503 until then"),
        (BROKEN, {"admins": file()}, {"admins": file()}, "held last are let in on by the nginx"),
        (GONE, {"admins": file()}, {}, "requests get 503 until then"),
    ],
    ids=["broken", "missing", "broken after it was good", "deleted after it was good"],
)
def test_a_broken_secret_leaves_the_last_users_and_a_deleted_one_takes_them_back(
    finding, remembered, expected, words
):
    users = resolve_users(findings={"admins": finding}, remembered=remembered)
    assert users.usable == expected
    found = verdict(plan(users)).resolved
    assert (found.is_true, found.reason) == (False, "InvalidSecretRef")
    assert found.message.startswith(
        f"spec.basicAuth.secretRef.name: Secret shop/admins: {finding.problem}; "
    )
    assert words in found.message


def test_nothing_is_ever_open_because_users_are_not_known():
    assert files(plan())[FILE] == NO_USERS
    listener = next(text for name, text in files(plan()).items() if name.startswith("listener-"))
    for location in listener.split("location ")[1:]:
        asks = f'auth_basic "Authentication required";\n        include {FILE};' in location
        assert asks or "proxy_pass" not in location


def test_a_mapping_of_another_namespace_than_the_load_balancers_is_refused_in_words():
    """Else whoever writes one would name a Secret of the LoadBalancer's namespace, or of nobody."""
    found = plan(
        meta={"namespace": "team"},
        balancer=load_balancer(allowedNamespaces={"from": "All"}),
        loadBalancerRef={"name": "edge", "namespace": "shop"},
    )
    condition = verdict(found).accepted
    assert (condition.is_true, condition.reason) == (False, "UnsupportedValue")
    assert condition.message == (
        "spec.basicAuth.secretRef.name: admins: the pods of LoadBalancer shop/edge read Secrets of "
        "their own namespace only, and this one is in team; name a LoadBalancer of team, or have "
        "the mapping in shop"
    )
    assert found.configuration.users == ()


def test_on_a_stream_listener_it_is_refused():
    tcp = load_balancer(listeners=[{"name": "tcp", "protocol": "TCP", "port": 90}])
    condition = verdict(plan(balancer=tcp, listener="tcp")).accepted
    assert condition.message.startswith("spec.basicAuth: listener tcp speaks TCP")


def test_only_mappings_in_use_have_a_secret_read():
    mappings = [mapping("a", **AUTH), mapping("b"), mapping("c", **AUTH)]
    assert users_secrets(mappings) == ("admins",)
    assert users_secrets([mappings[1]]) == ()


def test_a_refused_listeners_earlier_form_without_its_users_is_not_taken():
    """It would include a file that is not there."""
    bundle = render(configuration=plan(basicAuth=None).configuration, layout=Layout())
    name = next(name for name in bundle.files if name.startswith("listener-"))
    refused = {name: {bundle.files[name]: "no"}}
    found = substitute(bundle=bundle, refused=refused, proven={name: f"include {FILE};\n"})
    assert found.reasons == {}
    assert found.bundle == bundle


@pytest.mark.parametrize("text", ["off", 'a"', "a\\", "", "a\n", "x" * 65])
def test_a_realm_that_would_mean_something_else_never_reaches_nginx(text):
    with pytest.raises(UnsafeTokenError):
        realm(text)


def test_what_is_in_force_outlives_the_operator_without_what_is_secret():
    state = State(users={"admins": file()})
    assert decode_state(encode_state(state)) == state
    assert decode_state(encode_state(State())).users == {}


class Kube:
    def __init__(self, answer):
        self._answer = answer

    async def get(self, *_):
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "problem", "gone"),
    [
        (None, "it does not exist; create it, with the key auth, or name another one", True),
        (KubeRefused("forbidden"), "the chart's secrets.namespaces has to have shop", False),
        (secret("x"), "auth, line 1: it is not NAME:HASH", False),
    ],
    ids=["missing", "forbidden", "broken"],
)
async def test_what_is_wrong_with_a_secret_is_told_with_a_way_out(answer, problem, gone):
    found = await users_in(REF, kube=Kube(answer))
    assert (found.file, found.gone) == (None, gone)
    assert problem in found.problem


@pytest.mark.asyncio
async def test_a_good_secret_is_known_by_its_hash_and_an_api_server_that_is_away_is_no_finding():
    found = await users_in(REF, kube=Kube(secret(f"a:{BCRYPT}")))
    assert found.file is not None
    assert b64encode(BCRYPT.encode()).decode() not in repr(found)
    assert BCRYPT not in repr(found)
    with pytest.raises(KubeUnavailable):
        await users_in(REF, kube=Kube(KubeUnavailable("away")))


def test_the_users_of_several_mappings_are_one_file():
    users = Users(usable={"admins": file()})
    found = planned(
        load_balancer=load_balancer(),
        mappings=[mapping(name, path={"value": f"/{name}"}, **AUTH) for name in ("a", "b")],
        snapshot={},
        users=users,
    )
    assert [slot.id for slot in found.configuration.users] == [users_id("admins")]
