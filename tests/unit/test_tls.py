"""Certificates are verified, but home-made CAs without a key usage extension are accepted."""

from __future__ import annotations

import ssl

import kopf

from consul_nginx.consul.transport import _tls
from consul_nginx.handlers.login import LenientConnectionInfo


def lenient(context: ssl.SSLContext) -> bool:
    verifies = context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
    return verifies and not context.verify_flags & ssl.VERIFY_X509_STRICT


def test_consuls_connection_clears_the_one_flag_and_no_other():
    assert lenient(_tls())


def test_kopfs_connection_clears_the_one_flag_and_no_other(monkeypatch):
    def strict(self: kopf.ConnectionInfo) -> ssl.SSLContext:
        """As on Python ≥ 3.13."""
        context = ssl.create_default_context()
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(kopf.ConnectionInfo, "as_ssl_context", strict)
    assert lenient(LenientConnectionInfo(server="https://127.0.0.1").as_ssl_context())
