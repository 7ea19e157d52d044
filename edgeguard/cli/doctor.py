"""The verb that looks before a deploy: doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeguard.cli import app
from edgeguard.cli.options import Config, Json, Name, Quiet, State, Verbose, Version
from edgeguard.cli.output import print_json, print_text


@app.command(epilog="Example: edgeguard doctor production --warm")
def doctor(
    name: Name,
    warm: Annotated[
        bool, typer.Option("--warm", help="Fetch pages first that the edge has no copy of, gently.")
    ] = False,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Version = False,
) -> None:
    """Would an anonymous visitor notice a deploy now? Every reason why, and what to do."""
    from edgeguard.doctor import examine
    from edgeguard.doctor.text import render
    from edgeguard.environment import as_far_as_it_goes
    from edgeguard.errors import Refused

    environment, cluster = as_far_as_it_goes(name, config=config, state=state)
    found = examine(environment, cluster, warm=warm)
    if as_json:
        print_json(found.json())
    else:
        print_text(render(found, quiet=quiet, verbose=verbose))
    if found.would_notice:
        raise Refused(f"an anonymous visitor of {name} would notice a deploy now")
