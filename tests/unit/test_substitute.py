"""What nginx refuses is left out, and comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consul_nginx.loops.refusals import FIRST_RETRY_S, MAX_TEXTS, Refusals
from consul_nginx.model.bundle import Bundle
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.model.pods import PodRejection, PodReport
from consul_nginx.model.secret_files import NO_CERTIFICATE, SecretFile, SecretKind
from consul_nginx.nginx.substitute import exchangeable, substitute
from consul_nginx.plan.status import common_rejection

EDGE = ObjectRef(namespace="shop", name="edge")
UPSTREAM = "u_0123456789abcdef"
FILES = {
    "nginx.conf": "include listener-a.conf; include listener-b.conf;",
    "upstreams.conf": f"upstream {UPSTREAM} {{",
    "listener-a.conf": f"listen 80; proxy_pass {UPSTREAM};",
    "listener-b.conf": "listen 81;",
    "endpoints-x.conf": "server 10.0.0.1:80;",
}
BUNDLE = Bundle.of(FILES)
REFUSED = {"listener-b.conf": {"listen 81;": "bind() failed"}}


def test_a_listener_that_nginx_never_ran_is_left_out():
    found = substitute(bundle=BUNDLE, refused=REFUSED, proven={})
    assert found.bundle.files["listener-b.conf"] == ""
    assert found.bundle.files["listener-a.conf"] == FILES["listener-a.conf"]
    assert found.reasons == {"listener-b.conf": "bind() failed; it is left out"}


def test_one_that_it_ran_before_is_served_as_it_was():
    found = substitute(bundle=BUNDLE, refused=REFUSED, proven={"listener-b.conf": "listen 8081;"})
    assert found.bundle.files["listener-b.conf"] == "listen 8081;"
    assert found.reasons == {
        "listener-b.conf": "bind() failed; what nginx ran of it before is served on"
    }


def test_one_that_is_refused_as_it_was_before_too_is_left_out():
    both = {"listener-b.conf": {"listen 81;": "bind() failed", "listen 8081;": "in use"}}
    found = substitute(bundle=BUNDLE, refused=both, proven={"listener-b.conf": "listen 8081;"})
    assert found.bundle.files["listener-b.conf"] == ""
    assert found.reasons == {
        "listener-b.conf": "bind() failed; what nginx ran of it before is refused as well: in use; "
        "it is left out"
    }


def test_where_nginx_refuses_even_that_it_is_left_out_it_keeps_what_it_runs():
    texts = {"listen 81;": "no", "": "no", "listen 8081;": "no"}
    found = substitute(
        bundle=BUNDLE,
        refused={"listener-b.conf": texts},
        proven={"listener-b.conf": "listen 8081;"},
    )
    assert (found.bundle, found.reasons) == (BUNDLE, {})


def test_what_is_rendered_otherwise_now_is_tried():
    other = Bundle.of({**FILES, "listener-b.conf": "listen 82;"})
    assert substitute(bundle=other, refused=REFUSED, proven={}).bundle is other


CERTIFICATE = "certificate-0123456789abcdef.conf"
SECRET = SecretFile(secret="web-tls", kind=SecretKind.TLS, sha256="0" * 64)


def test_a_certificate_that_nginx_refuses_is_exchanged_alone_and_its_secret_stays_known():
    bundle = Bundle.of({**FILES, CERTIFICATE: "ssl_certificate new;"}, secrets=[SECRET])
    refused = {CERTIFICATE: {"ssl_certificate new;": "ee key too small"}}
    never = substitute(bundle=bundle, refused=refused, proven={})
    assert never.bundle.files[CERTIFICATE] == NO_CERTIFICATE
    assert never.bundle.secrets == (SECRET,)
    assert never.reasons == {CERTIFICATE: "ee key too small; it is left out"}
    before = substitute(
        bundle=bundle, refused=refused, proven={CERTIFICATE: "ssl_certificate old;"}
    )
    assert before.bundle.files[CERTIFICATE] == "ssl_certificate old;"


def test_an_earlier_form_whose_certificate_is_gone_is_not_served():
    proven = {"listener-b.conf": f"include {CERTIFICATE};"}
    assert substitute(bundle=BUNDLE, refused=REFUSED, proven=proven).bundle is BUNDLE
    there = Bundle.of({**FILES, CERTIFICATE: "ssl_certificate new;"})
    found = substitute(bundle=there, refused=REFUSED, proven=proven)
    assert found.bundle.files["listener-b.conf"] == f"include {CERTIFICATE};"


@pytest.mark.parametrize("name", ["nginx.conf", "upstreams.conf"])
def test_what_all_listeners_share_is_not_exchanged(name):
    refused = {name: {FILES[name]: "no"}}
    assert substitute(bundle=BUNDLE, refused=refused, proven={name: "old"}).bundle is BUNDLE


def test_an_earlier_form_whose_upstreams_are_gone_is_not_served():
    proven = {"listener-b.conf": "proxy_pass u_ffffffffffffffff;"}
    assert substitute(bundle=BUNDLE, refused=REFUSED, proven=proven).bundle is BUNDLE


@pytest.mark.parametrize(
    "text",
    [
        "include authority-0123456789abcdef.conf;",
        'add_header x "${cors_origin_0123456789abcdef}";',
        "if ($preflight) { return 204; }",
    ],
)
def test_an_earlier_form_whose_files_or_variables_are_gone_is_not_served(text):
    proven = {"listener-b.conf": text}
    assert substitute(bundle=BUNDLE, refused=REFUSED, proven=proven).bundle is BUNDLE


def test_only_what_can_be_exchanged_is_remembered():
    assert exchangeable(BUNDLE.files).keys() == {"listener-a.conf", "listener-b.conf"}


def test_what_was_left_out_is_remembered_as_nginx_ran_it_before():
    left_out = {"listener-a.conf": "", "listener-b.conf": "listen 82;", CERTIFICATE: NO_CERTIFICATE}
    before = {"listener-a.conf": "listen 80;", CERTIFICATE: "ssl_certificate old;"}
    assert exchangeable(left_out, before=before) == {**left_out, **before}
    assert exchangeable(left_out) == left_out


def test_a_refusal_that_may_pass_is_tried_again_later_each_time():
    now = 1000.0
    refusals = Refusals(clock=lambda: now)

    def note():
        files = {"listener-b.conf": "listen 81;"}
        return refusals.note(EDGE, files=files, message="bind() failed", passing=True)

    assert note()
    assert not note()
    first = refusals.next_try(EDGE)
    assert FIRST_RETRY_S / 2 <= first <= FIRST_RETRY_S
    now += first
    assert refusals.refused(EDGE) == {}
    assert note()
    assert FIRST_RETRY_S <= refusals.next_try(EDGE) <= 2 * FIRST_RETRY_S


def test_what_nginx_t_refuses_waits_for_another_text():
    refusals = Refusals(clock=lambda: 0.0)
    refusals.note(EDGE, files={"listener-b.conf": "x"}, message="no", passing=False)
    assert refusals.next_try(EDGE) is None
    assert refusals.refused(EDGE) == {"listener-b.conf": {"x": "no"}}


def test_what_stands_in_for_a_file_is_noted_beside_it():
    refusals = Refusals(clock=lambda: 0.0)
    for text in ("rendered", "earlier"):
        assert refusals.note(EDGE, files={"f": text}, message=f"no {text}", passing=False)
    assert refusals.refused(EDGE) == {"f": {"rendered": "no rendered", "earlier": "no earlier"}}


def test_of_one_file_only_the_latest_texts_are_noted():
    refusals = Refusals(clock=lambda: 0.0)
    for number in range(50):
        refusals.note(EDGE, files={"f": str(number)}, message="no", passing=False)
    assert list(refusals.refused(EDGE)["f"]) == [str(n) for n in range(50 - MAX_TEXTS, 50)]


def pod(name, *files, digest="h", **more):
    rejection = PodRejection(hash=digest, stage="reload", message="no", files=files)
    return PodReport(pod=name, ready=True, revision=1, rejection=rejection, **more)


SERVING = PodReport(pod="c", ready=True, revision=2)


@pytest.mark.parametrize(
    ("pods", "files"),
    [
        ([pod("a", "x"), pod("b", "x")], ("x",)),
        ([pod("a", "x", "y"), pod("b", "x")], ("x",)),
        ([pod("a", "x"), pod("b", "y")], None),
        ([pod("a", "x"), SERVING], None),
        ([pod("a", "x"), pod("b", "x", digest="older")], None),
        ([pod("a")], None),
        ([SERVING], None),
        ([], None),
    ],
)
def test_only_what_every_pod_refuses_is_left_out(pods, files):
    found = common_rejection(digest="h", pods=pods)
    assert (found and found.files) == files


def test_while_an_agent_still_looks_nothing_is_left_out():
    looking = replace(pod("a", "x").rejection, files=None)
    assert common_rejection(digest="h", pods=[replace(pod("a"), rejection=looking)]) is None


@pytest.mark.parametrize("needed", ["proxy_pass http://u_mirrors/x;", "if ($unmirrored_50) {}"])
def test_an_earlier_listener_whose_mirrors_are_gone_takes_no_ones_place(needed):
    proven = {"listener-b.conf": needed}
    assert substitute(bundle=BUNDLE, refused=REFUSED, proven=proven).bundle is BUNDLE
    mirrors = "split_clients $request_id $unmirrored_50 {}\nupstream u_mirrors {"
    bundle = Bundle.of({**FILES, "mirrors.conf": mirrors})
    found = substitute(bundle=bundle, refused=REFUSED, proven=proven)
    assert found.bundle.files["listener-b.conf"] == needed
