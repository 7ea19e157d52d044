"""The verbs for deploys by push: git install, git receive."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from edgeguard.cli.app import group
from edgeguard.cli.options import Options, verb

git = group("git", "Deploy an environment when its branch is pushed to a bare repository.")

Repository = Annotated[Path, typer.Argument(metavar="REPO", help="The bare repository.")]
Branches = Annotated[list[str], typer.Argument(metavar="ENV=BRANCH…", help="Each environment with its branch.")]
Busy = Annotated[
    Literal["wait", "refuse"],
    typer.Option("--busy", help="Of a push during a deploy: the newest waits and is deployed next, or none is. [wait]"),
]


@verb(git, "edgeguard git install /srv/git/site.git production=production staging=staging")
def install(
    repository: Repository,
    branches: Branches,
    options: Options,
    busy: Busy = "wait",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
) -> None:
    """Make a bare repository deploy on push, by its post-receive hook. Repeating it is harmless."""
    from edgeguard.cli.say.pushes import installed
    from edgeguard.environment import config_folder, state_folder
    from edgeguard.push.branches import deploying
    from edgeguard.push.install import installation

    config = config_folder(options.config).absolute()
    named = deploying(branches, config)
    found = installation(repository, named, config=config, state=state_folder(options.state), refuse=busy == "refuse")
    acts = found.acts() if dry_run else found.install()
    for text in found.advice():
        options.warn(text)
    content = {"repository": str(found.repository), "environments": named, "acts": acts, "dry_run": dry_run}
    options.done({**content, "command": found.command}, installed(content))


@verb(git, "edgeguard git receive /srv/git/site.git production=production --retry")
def receive(
    repository: Repository,
    branches: Branches,
    options: Options,
    busy: Busy = "wait",
    retry: Annotated[
        bool, typer.Option("--retry", help="Read nothing; have deployed what was pushed and left by a crash.")
    ] = False,
) -> None:
    """Deploy what Git says was pushed; the post-receive hook calls it. The deploy goes on if the pusher hangs up."""
    from edgeguard.cli import output
    from edgeguard.cli.border import unread
    from edgeguard.cli.say.pushes import Heard
    from edgeguard.environment import config_folder, state_folder
    from edgeguard.push.branches import deploying
    from edgeguard.push.receive import Receiver

    config = config_folder(options.config).absolute()
    named = deploying(branches, config)
    people = Heard(several=len(named) > 1)

    def tell(event: dict[str, Any]) -> None:
        if options.as_json:
            output.print_json(event)
        elif not options.quiet or event["event"] in ("refused", "left") or event.get("exit_code"):
            output.print_text(people.text(event))

    receiver = Receiver(
        repository.absolute(),
        named,
        config,
        state_folder(options.state).absolute(),
        refuse=busy == "refuse",
        tell=tell,
        gone=lambda: unread(sys.stdout),
    )
    raise typer.Exit(receiver.retry() if retry else receiver.receive(sys.stdin.buffer.read()))
