"""What has to be known of certificates; nothing here is secret."""

from __future__ import annotations

from dataclasses import dataclass

from consul_nginx.model.secret_files import SecretFile

TLS_KEYS = ("tls.crt", "tls.key")


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate with its key, in a Secret.

    ``hostnames`` are the DNS names that it is for, in lower case, ``*.`` in front of some;
    ``not_after`` is in seconds since 1970. ``remarks`` say what is odd about it, and harmless to
    nginx.
    """

    file: SecretFile
    hostnames: tuple[str, ...]
    not_after: float
    remarks: tuple[str, ...] = ()

    def covers(self, hostname: str) -> bool:
        """Whether clients accept it for a host name; ``*.`` stands for one label (RFC 6125)."""
        _, _, parent = hostname.partition(".")
        return hostname in self.hostnames or (bool(parent) and f"*.{parent}" in self.hostnames)
