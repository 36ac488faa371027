"""Options that several commands have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from consul_nginx.commands.manifests import STANDARD_INPUT
from consul_nginx.commands.placeholders import placeholder
from consul_nginx.consul.transport import tls_context
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.model.policy import Policy
from consul_nginx.model.registration import RegistrationSettings
from consul_nginx.resources.policy import PolicyError, parse_policy
from consul_nginx.resources.registration import RegistrationFileError, parse_registration_file


class ManifestCommand(click.Command):
    """A command that exits with 2 when an object is rejected; so what it can't do is 1.

    Else that would be 2 as well when it is about an option.
    """

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """As ever, with another exit code."""
        try:
            return super().parse_args(context, args)
        except click.UsageError as error:
            error.show()
            context.exit(1)


def url(_context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Callback of an option that is a base URL."""
    if not value.startswith(("http://", "https://")):
        raise click.BadParameter(
            f"{value!r} is not a URL; write http://HOST:PORT or https://HOST:PORT",
            param_hint=parameter.opts[0],
        )
    return value


def object_ref(
    _context: click.Context, parameter: click.Parameter, value: str | None
) -> ObjectRef | None:
    """Callback of an option that names an object with its namespace."""
    if value is None:
        return None
    namespace, _, name = value.partition("/")
    if not namespace or not name or "/" in name:
        raise click.BadParameter(f"{value!r} is not NAMESPACE/NAME", param_hint=parameter.opts[0])
    return ObjectRef(namespace=namespace, name=name)


def policy(_context: click.Context, parameter: click.Parameter, value: Path | None) -> Policy:
    """Callback of an option that is the operator's policy file."""
    if value is None:
        return Policy()
    try:
        return parse_policy(value.read_text(encoding="utf-8"))
    except (PolicyError, OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{value}: {error}", param_hint=parameter.opts[0]) from error


policy_option = click.option(
    "--policy-file",
    "policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="CONSUL_NGINX_POLICY_FILE",
    show_envvar=True,
    callback=policy,
    help="YAML that says who may map what, and which Consuls may be named. Without it: everybody "
    "may map everything, and none may be named.",
)


def settings(
    _context: click.Context, parameter: click.Parameter, value: Path | None
) -> RegistrationSettings:
    """Callback of an option that is the operator's registration file."""
    cluster = placeholder("cluster-name")
    if value is None:
        return RegistrationSettings(cluster=cluster)
    try:
        file = parse_registration_file(value.read_text(encoding="utf-8"))
    except (RegistrationFileError, OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{parameter.opts[0]}: {value}: {error}") from error
    return file.settings_of(cluster=cluster)


settings_option = click.option(
    "--settings-file",
    "settings",
    type=click.Path(path_type=Path),
    envvar="CONSUL_NGINX_REGISTRATION_FILE",
    show_envvar=True,
    callback=settings,
    help="YAML with the operator's registration settings, as the chart writes it.",
)


def _ca_file(
    _context: click.Context, parameter: click.Parameter, value: Path | None
) -> Path | None:
    try:
        tls_context(ca_file=value)
    except OSError as error:
        raise click.BadParameter(
            f"{value}: no certificate can be read from it; it must be in PEM: {error}",
            param_hint=parameter.opts[0],
        ) from error
    return value


_CONSUL_OPTIONS = (
    click.option(
        "--consul-address",
        envvar="CONSUL_NGINX_CONSUL_ADDRESS",
        default="http://consul-server.consul.svc:8500",
        show_default=True,
        show_envvar=True,
        callback=url,
        help="Base URL of Consul's HTTP API.",
    ),
    click.option(
        "--consul-datacenter",
        envvar="CONSUL_NGINX_CONSUL_DATACENTER",
        show_envvar=True,
        help="Datacenter to ask; by default that of the agent that answers.",
    ),
    click.option(
        "--consul-token",
        envvar="CONSUL_NGINX_CONSUL_TOKEN",
        show_envvar=True,
        help="ACL token; better given by the environment than by the flag.",
    ),
    click.option(
        "--consul-ca-file",
        envvar="CONSUL_NGINX_CONSUL_CA_FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        show_envvar=True,
        callback=_ca_file,
        help="File in PEM with the CAs that sign Consul's certificate; by default the system's.",
    ),
)


def consul_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: where Consul is, and how it is asked."""
    for option in reversed(_CONSUL_OPTIONS):
        command = option(command)
    return command


def output_option(words: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: a table for people or JSON for scripts; ``words`` say of what."""
    return click.option(
        "--output",
        "-o",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help=words,
    )


def manifest_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: which manifests are read."""
    return _manifest_options(command, required=True)


def optional_manifest_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: which manifests are read, if any."""
    return _manifest_options(command, required=False)


def _manifest_options(command: Callable[..., None], *, required: bool) -> Callable[..., None]:
    files = click.option(
        "--filename",
        "-f",
        "filenames",
        multiple=True,
        required=required,
        help=f"Manifests: a file, a folder, or {STANDARD_INPUT} for standard input; can be "
        "repeated.",
    )
    namespace = click.option(
        "--namespace",
        "-n",
        default="default",
        show_default=True,
        help="Namespace of objects that name none.",
    )
    return files(namespace(command))
