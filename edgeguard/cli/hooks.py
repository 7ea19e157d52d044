"""The verbs for pipelines that deploy by their own means: hook pre, hook post, wrap."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeguard.cli import app
from edgeguard.cli.options import Config, Json, Name, PurgeKey, Quiet, State, Verbose, Version, whole_seconds
from edgeguard.cli.output import print_json, print_text, teller

hook = typer.Typer(
    help="Before and after a deploy by other means: claim the grace, give it back.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(hook, name="hook")

Lasting = Annotated[
    str | None, typer.Option("--for", help="How long the claim lasts if nobody gives it back. [claim.duration]")
]
Renews = Annotated[str | None, typer.Option("--id", help="Renew this claim if it is in force: deploy0 or deploy1.")]


@hook.command(epilog="Example: edgeguard hook pre production --for 4h")
def pre(
    name: Name,
    lasting: Lasting = None,
    renews: Renews = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for `grace show` and the audit.")] = "",
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Before a deploy: claim the grace, wait until the edge shows it, print the claim's id."""
    from edgeguard.environment import EdgeSide
    from edgeguard.grace.pipeline import pre as claim
    from edgeguard.machine.signals import Stop
    from edgeguard.times import duration

    environment = EdgeSide.open(name, config=config, state=state)
    stop = Stop()
    seconds = None if lasting is None else whole_seconds(lasting)
    with stop.listening():
        made = claim(environment, stop=stop, lasting=seconds, renews=renews, why=reason).json()
    if as_json:
        print_json(made)
        return
    teller(quiet=quiet)(
        f"pages of {name} may be served {duration(made['grace'])} stale, until {made['until']}; "
        f"confirmed after {made['confirmed_seconds']} s by {', '.join(made['nodes'])}"
    )
    print_text(made["id"])


@hook.command(epilog="Example: edgeguard hook post production deploy0 --purge-key news")
def post(
    name: Name,
    claim_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="What `hook pre` printed. [the one claim that is in force]")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="The deploy failed: keep the claim.")] = False,
    purge_key: PurgeKey = None,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """After a deploy: prove the site healthy, purge softly, give the claim back. Not healthy: exit 7, claim kept."""
    from edgeguard.environment import EdgeSide
    from edgeguard.grace import pipeline
    from edgeguard.machine.signals import Stop

    if failed and purge_key:
        raise typer.BadParameter("nothing is purged after a deploy that failed; leave --purge-key out")
    environment = EdgeSide.open(name, config=config, state=state)
    stop = Stop()
    with stop.listening():
        if failed:
            done = pipeline.post_failed(environment, claim_id)
        else:
            done = pipeline.post(environment, claim_id, stop=stop, purge_keys=purge_key or ())
    if as_json:
        print_json(done)
    else:
        print_text(pipeline.text(done))


@app.command(epilog="Example: edgeguard wrap production --purge-key news -- ./deploy.sh --all")
def wrap(
    name: Name,
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="What deploys, with its arguments, after a --.")
    ],
    lasting: Lasting = None,
    renews: Renews = None,
    purge_key: PurgeKey = None,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """`hook pre`, the command, `hook post`. Signals go on to the command; its exit code comes back."""
    from edgeguard.environment import EdgeSide
    from edgeguard.grace import pipeline
    from edgeguard.grace.wrap import wrap as run

    environment = EdgeSide.open(name, config=config, state=state)
    say = teller(quiet=quiet)
    seconds = None if lasting is None else whole_seconds(lasting)
    done = run(environment, command, lasting=seconds, renews=renews, purge_keys=purge_key or (), say=say)
    if as_json:
        print_json(done)
    elif done["command_exit_code"] == 0:
        say(pipeline.text(done))
    raise typer.Exit(done["command_exit_code"])
