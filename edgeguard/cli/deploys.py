"""The verbs around a deploy: plan, deploy, resume, rollback, status, report, history, unlock."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import typer

from edgeguard.cli.app import app
from edgeguard.cli.options import EdgeName, Fenced, Name, Options, PurgeKey, Service, Without, accepted, verb

Ref = Annotated[str | None, typer.Option("--ref", help="A commit, tag or branch. [the environment's branch]")]
Accept = Annotated[list[str] | None, typer.Option("--accept", help="Go on although preflight names this; repeatable.")]
Supersede = Annotated[
    str | None, typer.Option(metavar="DEPLOY", help="Come in place of this unfinished deploy, with a fix.")
]
Hook = Annotated[
    Literal["again", "skip"] | None,
    typer.Option("--hook", help="Where the hook failed, or nobody knows how it ended: start it again, or skip it."),
]
Wait = Annotated[
    bool, typer.Option("--wait", help="If the cluster stays closed, stay and renew the claim until somebody goes on.")
]


@verb(app, "edgeguard plan production")
def plan(name: Name, options: Options, ref: Ref = None, purge_key: PurgeKey = None) -> None:
    """Show what a deploy would do, phase by phase. Builds the image; touches nothing else."""
    from edgeguard.cli.say.deploys import planned
    from edgeguard.deploy.plan import plan as phases_of

    environment = options.environment(name)
    phases = phases_of(environment, ref, purge_keys=tuple(purge_key or ()), listen=options.progress())
    options.answer({"environment": name, "phases": phases}, planned(phases))


@verb(app, "edgeguard deploy production --purge-key news")
def deploy(
    name: Name,
    options: Options,
    ref: Ref = None,
    purge_key: PurgeKey = None,
    accept: Accept = None,
    supersede: Supersede = None,
    without: Without = None,
    fenced: Fenced = None,
    wait: Wait = False,
    if_changed: Annotated[
        bool, typer.Option("--if-changed", help="Do nothing if every server serves this release already.")
    ] = False,
) -> None:
    """Deploy, with visitors of cached pages kept served meanwhile. Ends with a report."""
    from edgeguard.deploy import lost_servers
    from edgeguard.deploy.attempt import Wish
    from edgeguard.deploy.deploy import deploy as run
    from edgeguard.deploy.steps import ACCEPTABLE

    environment = lost_servers.whole(options.environment(name), without=without or (), fenced=fenced or ())
    wish = Wish(
        ref,
        tuple(purge_key or ()),
        accepted(accept, ACCEPTABLE),
        supersede,
        wait=wait,
        if_changed=if_changed,
        last=True,
    )
    options.end(run(environment, wish, listen=options.events()))


@verb(app, "edgeguard resume production --hook=again")
def resume(
    name: Name,
    options: Options,
    hook: Hook = None,
    without: Without = None,
    fenced: Fenced = None,
    wait: Wait = False,
) -> None:
    """Finish the deploy that a crash, a cancelled job or a failed hook left unfinished; from any machine."""
    from edgeguard.deploy import going_back, lost_servers, recovery
    from edgeguard.deploy.attempt import Wish

    environment = lost_servers.as_it_is(options.environment(name), without=without or (), fenced=fenced or ())
    report = recovery.resume(environment, Wish(hook=hook, wait=wait, last=True), listen=options.events())
    if report is not None:
        options.end(report)
    found = going_back.serving(environment, f"nothing is unfinished in {name}")
    options.done(found.json(), found.now())


@verb(app, "edgeguard rollback production --to 3f2a91c0b7d4")
def rollback(
    name: Name,
    options: Options,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="RELEASE", help="Deploy this release, which `history` marks as kept, once more."),
    ] = None,
    deploy_id: Annotated[
        str | None, typer.Option("--deploy", metavar="DEPLOY", help="Undo this deploy, and no other one.")
    ] = None,
    accept: Accept = None,
    without: Without = None,
    fenced: Fenced = None,
) -> None:
    """Undo the deploy that was left unfinished; or go back to a release that is kept. From any machine."""
    from edgeguard.deploy import going_back, lost_servers
    from edgeguard.deploy.attempt import Wish
    from edgeguard.deploy.steps import ACCEPTABLE
    from edgeguard.errors import UsageError

    if to is not None and deploy_id is not None:
        raise UsageError("--to and --deploy say two different things", "Use one of them.")
    environment = lost_servers.as_it_is(options.environment(name), without=without or (), fenced=fenced or ())
    wish, listen = Wish(accept=accepted(accept, ACCEPTABLE), last=True), options.events()
    if to is not None:
        done = going_back.to(environment, wish, to, listen=listen)
    elif deploy_id is not None:
        done = going_back.undo(environment, wish, deploy_id, listen=listen)
    else:
        done = going_back.rollback(environment, wish, listen=listen)
    if isinstance(done, dict):
        options.end(done)
    options.done(done.json(), done.text())


@verb(app, "edgeguard status production --json")
def status(options: Options, name: EdgeName = None, service: Service = None) -> None:
    """Show what is in force now: the servers, the lock, and the grace as the edge shows it. Of a service, the grace."""
    if service is not None or name is None:
        from edgeguard.grace import show

        environment = options.edge_side_or_service(name, service)
        grace = show.grace(environment, now=time.time())
        options.answer({"environment": environment.name, "grace": grace}, f"{environment.name}:\n{show.text(grace)}")
        return
    from edgeguard.deploy.status import status as look
    from edgeguard.deploy.status import text

    found = look(options.environment(name), now=time.time())
    options.answer(found.json(), text(found))


@verb(app, "edgeguard report production --json")
def report(
    name: Name,
    options: Options,
    deploy_id: Annotated[str | None, typer.Argument(metavar="[DEPLOY]", help="A deploy's id. [the last one]")] = None,
) -> None:
    """Show one deploy of this machine: how it ended, its phases, and what visitors saw."""
    from edgeguard import settings
    from edgeguard.deploy.report import journals, load
    from edgeguard.deploy.report.text import render
    from edgeguard.environment import config_folder, state_folder
    from edgeguard.errors import UsageError

    settings.load(name, config_folder(options.config))
    folder = state_folder(options.state) / name
    found = [path for path in journals(folder) if deploy_id in (None, path.name)]
    if not found:
        raise UsageError(
            f"there is no deploy {deploy_id or ''} of {name} in {folder}".replace("  ", " "),
            "Deploys are reported on the machine that ran them; --state names its folder.",
        )
    content = load(found[-1])
    options.answer(content, render(content))


@verb(app, "edgeguard history production")
def history(name: Name, options: Options) -> None:
    """List the last deploys, resumes and rollbacks, whatever machine ran them, and mark what can be gone back to."""
    from edgeguard.deploy import going_back
    from edgeguard.deploy.report.text import history as render

    found = going_back.serving(options.environment(name))
    runs, kept = found.record.history, {each.generation for each in found.earlier}
    content = {
        "environment": name,
        "history": [{**run.json, "kept": run.id in kept} for run in runs],
        "releases": found.json()["releases"],
    }
    options.answer(content, render(name, runs, found.earlier) or f"nothing was ever deployed in {name}")


@verb(app, "edgeguard unlock production 20261123-113749-d23b")
def unlock(
    name: Name,
    deploy_id: Annotated[str, typer.Argument(metavar="DEPLOY", help="Whose lock: the id that `status` shows.")],
    options: Options,
) -> None:
    """Free the lock of a deploy whose process is gone. Watches for cluster.lease that it is; changes nothing else."""
    from edgeguard.cli.say.deploys import unlocked
    from edgeguard.deploy.lost_servers import as_it_is
    from edgeguard.deploy.status import status as look
    from edgeguard.deploy.status import text

    environment = as_it_is(options.environment(name))
    freed = environment.record().unlock(deploy_id, wait=time.sleep, say=options.teller())
    left = look(environment, now=time.time())
    options.done({"unlocked": freed.json, **left.json()}, f"{unlocked(deploy_id, freed)}\n{text(left)}")
