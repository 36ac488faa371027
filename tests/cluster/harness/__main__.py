"""The harness's commands; the Makefile's targets call them."""

from __future__ import annotations

import sys
import time

import click

from cluster.harness import binaries, cluster, preflight, rootfs, status
from cluster.harness.report import HarnessError, line
from cluster.harness.settings import Settings


@click.group()
def main() -> None:
    """Run a real Kubernetes cluster with Consul on this machine."""


@main.command()
def up() -> None:
    """Bring the cluster up; steps that are done are skipped."""
    begun = time.monotonic()
    settings = Settings.from_environment()
    cluster.up(settings)
    status.show(settings)
    status.next_steps(settings)
    line("time", f"{time.monotonic() - begun:.0f} s")


@main.command()
def down() -> None:
    """Take the cluster down and leave nothing."""
    cluster.down(Settings.from_environment())


@main.command("status")
def show() -> None:
    """Show every component, its version, state and log."""
    if not status.show(Settings.from_environment()):
        sys.exit(1)


@main.command()
def images() -> None:
    """Build the project's images, and import them when a cluster runs."""
    cluster.import_project(Settings.from_environment())


@main.command()
def nginx() -> None:
    """Provide nginx as a program, without any cluster, and print its path."""
    click.echo(rootfs.nginx_program(Settings.from_environment()))


@main.command()
def consul() -> None:
    """Provide Consul as a program, without any cluster, and print its path."""
    click.echo(binaries.provide(Settings.from_environment(), "consul"))


@main.command("preflight")
def check() -> None:
    """Check that this machine can run the cluster."""
    preflight.check(Settings.from_environment())
    line("machine", "can run the cluster")


if __name__ == "__main__":
    try:
        main(standalone_mode=False)
    except HarnessError as error:
        click.echo(f"\nerror: {error}", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("\ninterrupted: run it again to go on, or `make cluster-down`", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
