"""The verbs around a deploy: plan, deploy, resume, rollback, status, report, history, unlock."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import typer

from edgeguard.cli import app
from edgeguard.cli.options import (
    Config,
    Fenced,
    Json,
    Name,
    PurgeKey,
    Quiet,
    State,
    Verbose,
    Version,
    Without,
    accepted,
)
from edgeguard.cli.output import listener, print_json, print_text, teller

Accept = Annotated[list[str] | None, typer.Option("--accept", help="Go on although preflight names this; repeatable.")]
Hook = Annotated[
    Literal["again", "skip"] | None,
    typer.Option("--hook", help="Where the hook failed, or nobody knows how it ended: start it again, or skip it."),
]
Wait = Annotated[
    bool, typer.Option("--wait", help="If the cluster stays closed, stay and renew the claim until somebody goes on.")
]


@app.command(epilog="Example: edgeguard plan production")
def plan(
    name: Name,
    ref: Annotated[
        str | None, typer.Option("--ref", help="A commit, tag or branch. [the environment's branch]")
    ] = None,
    purge_key: PurgeKey = None,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """What a deploy would do, phase by phase. Builds the image; touches nothing else."""
    from edgeguard.deploy.plan import plan as planned
    from edgeguard.environment import Environment

    environment = Environment.open(name, config=config, state=state)
    listen = listener(as_json=False, quiet=quiet or as_json, verbose=verbose)
    phases = planned(environment, ref, purge_keys=tuple(purge_key or ()), listen=listen)
    if as_json:
        print_json({"environment": name, "phases": phases})
        return
    for phase in phases:
        for number, line in enumerate(phase["acts"] or ["nothing"]):
            print_text(f"{phase['name'] if number == 0 else '':<12} {line}")


@app.command(epilog="Example: edgeguard deploy production --purge-key news")
def deploy(
    name: Name,
    ref: Annotated[
        str | None, typer.Option("--ref", help="A commit, tag or branch. [the environment's branch]")
    ] = None,
    purge_key: PurgeKey = None,
    accept: Accept = None,
    supersede: Annotated[
        str | None, typer.Option(metavar="DEPLOY", help="Come in place of this unfinished deploy, with a fix.")
    ] = None,
    without: Without = None,
    fenced: Fenced = None,
    wait: Wait = False,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Deploy, with visitors of cached pages kept served meanwhile. Ends with a report."""
    from edgeguard.deploy import lost_servers
    from edgeguard.deploy.attempt import Wish
    from edgeguard.deploy.deploy import deploy as run
    from edgeguard.deploy.steps import ACCEPTABLE
    from edgeguard.environment import Environment

    environment = Environment.open(name, config=config, state=state)
    environment = lost_servers.whole(environment, without=without or (), fenced=fenced or ())
    wish = Wish(ref, tuple(purge_key or ()), accepted(accept, ACCEPTABLE), supersede, wait=wait)
    end(run(environment, wish, listen=listener(as_json=as_json, quiet=quiet, verbose=verbose)), as_json=as_json)


@app.command(epilog="Example: edgeguard resume production --hook=again")
def resume(
    name: Name,
    hook: Hook = None,
    without: Without = None,
    fenced: Fenced = None,
    wait: Wait = False,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Finish the deploy that a crash, a cancelled job or a failed hook left unfinished; from any machine."""
    from edgeguard.deploy import lost_servers, recovery
    from edgeguard.deploy.attempt import Wish
    from edgeguard.environment import Environment

    environment = Environment.open(name, config=config, state=state)
    environment = lost_servers.as_it_is(environment, without=without or (), fenced=fenced or ())
    listen = listener(as_json=as_json, quiet=quiet, verbose=verbose)
    content = recovery.resume(environment, Wish(hook=hook, wait=wait), listen=listen)
    if content is not None:
        end(content, as_json=as_json)
    elif as_json:
        print_json({"environment": name, "unfinished": None})
    else:
        print_text(f"nothing is unfinished in {name}")


@app.command(epilog="Example: edgeguard rollback production")
def rollback(
    name: Name,
    accept: Accept = None,
    without: Without = None,
    fenced: Fenced = None,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Undo the deploy that was left unfinished; if none was, deploy the release before. From any machine."""
    from edgeguard.deploy import lost_servers, recovery
    from edgeguard.deploy.attempt import Wish
    from edgeguard.deploy.steps import ACCEPTABLE
    from edgeguard.environment import Environment

    environment = Environment.open(name, config=config, state=state)
    environment = lost_servers.as_it_is(environment, without=without or (), fenced=fenced or ())
    listen = listener(as_json=as_json, quiet=quiet, verbose=verbose)
    end(recovery.rollback(environment, Wish(accept=accepted(accept, ACCEPTABLE)), listen=listen), as_json=as_json)


@app.command(epilog="Example: edgeguard status production --json")
def status(
    name: Name,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """What is in force now: the servers, the lock, and the grace as the edge shows it."""
    from edgeguard.deploy.status import status as look
    from edgeguard.deploy.status import text
    from edgeguard.environment import Environment

    found = look(Environment.open(name, config=config, state=state), now=time.time())
    if as_json:
        print_json(found)
    else:
        print_text(text(found))


@app.command(epilog="Example: edgeguard report production --json")
def report(
    name: Name,
    deploy_id: Annotated[str | None, typer.Argument(metavar="[DEPLOY]", help="A deploy's id. [the last one]")] = None,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """One deploy of this machine: how it ended, its phases, and what visitors saw."""
    from edgeguard import settings
    from edgeguard.deploy.report import journals, load
    from edgeguard.deploy.report.text import render
    from edgeguard.environment import config_folder, state_folder
    from edgeguard.errors import UsageError

    settings.load(name, config_folder(config))
    folder = state_folder(state) / name
    found = [path for path in journals(folder) if deploy_id in (None, path.name)]
    if not found:
        raise UsageError(
            f"there is no deploy {deploy_id or ''} of {name} in {folder}".replace("  ", " "),
            "Deploys are reported on the machine that ran them; --state names its folder.",
        )
    content = load(found[-1])
    if as_json:
        print_json(content)
    else:
        print_text(render(content))


@app.command(epilog="Example: edgeguard history production")
def history(
    name: Name,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """The last deploys, resumes and rollbacks, whatever machine ran them: the servers remember fifty."""
    from edgeguard.deploy.report.text import history as render
    from edgeguard.environment import Environment

    past = Environment.open(name, config=config, state=state).record().look().get("history", [])
    if as_json:
        print_json({"environment": name, "history": past})
    else:
        print_text(render(past) or f"nothing was ever deployed in {name}")


@app.command(epilog="Example: edgeguard unlock production 20261123-113749-d23b")
def unlock(
    name: Name,
    deploy_id: Annotated[str, typer.Argument(metavar="DEPLOY", help="Whose lock: the id that `status` shows.")],
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Free the lock of a deploy whose process is gone. Watches for cluster.lease that it is; changes nothing else."""
    from edgeguard.deploy.lost_servers import as_it_is
    from edgeguard.deploy.status import status as look
    from edgeguard.deploy.status import text
    from edgeguard.environment import Environment

    environment = as_it_is(Environment.open(name, config=config, state=state))
    freed = environment.record().unlock(deploy_id, wait=time.sleep, say=teller(quiet=quiet))
    left = look(environment, now=time.time())
    if as_json:
        print_json({"unlocked": freed, **left})
    else:
        print_text(f"the lock of {deploy_id} ({freed['holder']}) is free; this is what it left behind")
        print_text(text(left))


def end(content: dict[str, object], *, as_json: bool) -> None:
    """End a deploy's command: its report, its error, its exit code."""
    from edgeguard.deploy.report.text import render

    if as_json:
        print_json({"event": "report", **content})
        if content["error"]:
            print_text(f"edgeguard: {content['error']}\n  {content['remedy'] or ''}".rstrip(), err=True)
    else:
        print_text("\n" + render(content))
    raise typer.Exit(int(str(content["exit_code"])))
