"""The verbs about people who log in on the servers: users show, users apply."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeguard.cli.app import group
from edgeguard.cli.options import Name, Options, verb

users = group("users", "The people who may log in on the servers.")


@verb(users, "edgeguard users show production")
def show(name: Name, options: Options) -> None:
    """Show who may log in on each server, who is logged in, and what `users apply` would change."""
    from edgeguard.cli.say.users import told
    from edgeguard.deploy.users import look

    found = look(options.environment(name))
    options.answer(found, told(found))


@verb(users, "edgeguard users apply production --dry-run")
def apply(
    name: Name,
    options: Options,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
) -> None:
    """Let in the people whom the environment's file names, and nobody else, now and without a deploy. Open logins of
    the others end. Those who are removed don't come back with a rollback."""
    from edgeguard.cli.say.users import told_changes
    from edgeguard.deploy import users as by_hand

    environment = options.environment(name)
    found = by_hand.look(environment) if dry_run else by_hand.apply(environment, say=options.teller())
    content = {"environment": name, "changes": found["changes"], "done": not dry_run}
    options.done(content, told_changes(found, done=not dry_run))
