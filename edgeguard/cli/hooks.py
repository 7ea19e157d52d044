"""The verbs for pipelines that deploy by their own means: hook pre, hook post, wrap."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from edgeguard.cli.app import app, group
from edgeguard.cli.options import Name, Options, PurgeKey, verb, whole_seconds

_DEPLOY = re.compile(r"[!-:<-~]{1,60}")
"""The name of a deploy in a header: no spaces, no semicolon."""

hook = group("hook", "Before and after a deploy by other means: claim the grace, give it back.")

Lasting = Annotated[
    str | None, typer.Option("--for", help="How long the claim lasts if nobody gives it back. [claim.duration]")
]
Renews = Annotated[str | None, typer.Option("--id", help="Renew this claim if it is in force: deploy0 or deploy1.")]


@verb(hook, "edgeguard hook pre production --for 4h")
def pre(
    name: Name,
    options: Options,
    lasting: Lasting = None,
    renews: Renews = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for `grace show` and the audit.")] = "",
) -> None:
    """Claim the grace before a deploy, wait until the edge shows it, and print the claim's id."""
    from edgeguard.cli.say.grace import claimed
    from edgeguard.grace.pipeline import pre as claim
    from edgeguard.machine.signals import Stop

    environment, stop = options.edge_side(name), Stop(last=True)
    seconds = None if lasting is None else whole_seconds(lasting)
    with stop.listening():
        made = claim(environment, stop=stop, lasting=seconds, renews=renews, why=reason, say=options.teller()).json()
    if not options.as_json:
        options.teller()(claimed(name, made))
    options.answer(made, made["id"])


@verb(hook, "edgeguard hook post production deploy0 --purge-key news")
def post(
    name: Name,
    options: Options,
    claim_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="What `hook pre` printed. [the one claim that is in force]")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="The deploy failed: keep the claim.")] = False,
    purge_key: PurgeKey = None,
) -> None:
    """After a deploy, prove the site healthy, purge softly, give the claim back. Not healthy: exit 7, claim kept."""
    from edgeguard.grace import pipeline
    from edgeguard.machine.signals import Stop

    if failed and purge_key:
        raise typer.BadParameter("nothing is purged after a deploy that failed; leave --purge-key out")
    environment, stop, say = options.edge_side(name), Stop(last=True), options.teller()
    with stop.listening():
        if failed:
            done = pipeline.post_failed(environment, claim_id, say=say)
        else:
            done = pipeline.post(environment, claim_id, stop=stop, purge_keys=purge_key or (), say=say)
    options.done(done, pipeline.text(done))


@verb(app, "edgeguard wrap production --purge-key news -- ./deploy.sh --all")
def wrap(
    name: Name,
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="The command that deploys, with its arguments, after a --.")
    ],
    options: Options,
    lasting: Lasting = None,
    renews: Renews = None,
    purge_key: PurgeKey = None,
) -> None:
    """Run `hook pre`, the command, `hook post`. Signals go on to the command; its exit code comes back."""
    from edgeguard.cli.output import print_json
    from edgeguard.grace import pipeline
    from edgeguard.grace.wrap import wrap as run

    environment, say = options.edge_side(name), options.teller()
    seconds = None if lasting is None else whole_seconds(lasting)
    done = run(environment, command, lasting=seconds, renews=renews, purge_keys=purge_key or (), say=say, last=True)
    if options.as_json:
        print_json(done)
    elif done["command_exit_code"] == 0:  # stdout is the command's
        say(pipeline.text(done))
    raise typer.Exit(done["command_exit_code"])


@verb(app, "edgeguard closed-header production --for 10m", name="closed-header")
def closed_header(
    name: Name,
    options: Options,
    lasting: Annotated[
        str | None, typer.Option("--for", help="How long the closure is to last. [until the claim ends]")
    ] = None,
    deploy: Annotated[str | None, typer.Option("--deploy", help="Its name, for monitors. [the claim's id]")] = None,
) -> None:
    """Print the value of Edgeguard-Closed that a gate of your own should send while it is closed. It needs no token."""
    from edgeguard.environment import config_folder, visible_edge
    from edgeguard.grace.closed_header import closed_header as made
    from edgeguard.settings import load_edge_only
    from edgeguard.site.light import ask

    if deploy is not None and not _DEPLOY.fullmatch(deploy):
        raise typer.BadParameter("--deploy takes 1 to 60 visible characters, and no semicolon")
    seconds = None if lasting is None else whole_seconds(lasting)
    settings = load_edge_only(name, config_folder(options.config))
    found = made(name, settings, visible_edge(settings.edge, ask), lasting=seconds, deploy=deploy)
    options.answer(found, found["value"])
