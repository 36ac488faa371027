"""Certificates are verified, but home-made CAs without a key usage extension are accepted."""

from __future__ import annotations

import ssl

import kopf
import pytest
from click.testing import CliRunner

from consul_nginx import cli
from consul_nginx.consul.transport import tls_context
from consul_nginx.handlers.login import LenientConnectionInfo
from unit.certificates import handshake


def lenient(context: ssl.SSLContext) -> bool:
    verifies = context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
    return verifies and not context.verify_flags & ssl.VERIFY_X509_STRICT


def test_consuls_connection_clears_the_one_flag_and_no_other():
    assert lenient(tls_context(ca_file=None))


def test_with_a_ca_file_consuls_certificate_is_verified_by_it_and_by_no_other(home_made):
    ca, server = home_made
    context = tls_context(ca_file=ca)
    assert lenient(context)
    handshake(server=server, client=context, name="api")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server=server, client=context, name="another")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server=server, client=tls_context(ca_file=None), name="api")
    assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "does not exist"), ("-----BEGIN NONSENSE-----", "no certificate can be read from it")],
)
def test_a_ca_file_without_a_certificate_is_refused_by_name(tmp_path, content, words):
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_text(content)
    flags = ["operator", "--nginx-image=x", f"--consul-ca-file={file}"]
    done = CliRunner().invoke(cli.main, flags)
    assert done.exit_code == 2
    for word in ("--consul-ca-file", "ca.crt", words):
        assert word in done.output


def test_kopfs_connection_clears_the_one_flag_and_no_other(monkeypatch):
    def strict(self: kopf.ConnectionInfo) -> ssl.SSLContext:
        """As on Python ≥ 3.13."""
        context = ssl.create_default_context()
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(kopf.ConnectionInfo, "as_ssl_context", strict)
    assert lenient(LenientConnectionInfo(server="https://127.0.0.1").as_ssl_context())
