"""What has to be known of certificates; nothing here is secret."""

from __future__ import annotations

from dataclasses import dataclass

from consul_nginx.model.secret_files import SecretFile


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate with its key, in a Secret.

    ``hostnames`` are the DNS names that it is for, in lower case, ``*.`` in front of some;
    ``key_type`` is RSA, ECDSA or EdDSA; ``not_after`` is in seconds since 1970. ``remarks`` say
    what is odd about it, and harmless to nginx.
    """

    file: SecretFile
    hostnames: tuple[str, ...]
    key_type: str
    not_after: float
    remarks: tuple[str, ...] = ()

    def covers(self, hostname: str) -> bool:
        """Whether clients accept it for a host name; ``*.`` stands for one label (RFC 6125)."""
        _, _, parent = hostname.partition(".")
        return hostname in self.hostnames or (bool(parent) and f"*.{parent}" in self.hostnames)


@dataclass(frozen=True, kw_only=True)
class SecretFinding:
    """What a Secret was found to hold: a certificate, or ``problem`` says why not, and a way out.

    ``readable``: the operator may read it, or could if it were there, and so may let others.
    """

    certificate: Certificate | None = None
    problem: str = ""
    readable: bool = True
