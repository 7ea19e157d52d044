"""The verb that looks before a deploy: doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeguard.cli.app import app
from edgeguard.cli.options import EdgeName, Options, Service, verb

Warm = Annotated[bool, typer.Option("--warm", help="Fetch pages first that the edge has no copy of, gently.")]


@verb(app, "edgeguard doctor production --warm")
def doctor(options: Options, name: EdgeName = None, service: Service = None, warm: Warm = False) -> None:
    """Say whether an anonymous visitor would notice a deploy now: every reason why, and what to do."""
    from edgeguard.doctor import examine
    from edgeguard.doctor.text import render
    from edgeguard.errors import Refused

    environment, cluster = options.as_far_as_it_goes(name, service)
    found = examine(environment, cluster, warm=warm)
    options.answer(found.json(), render(found, quiet=options.quiet, verbose=options.verbose))
    if found.would_notice:
        raise Refused(f"an anonymous visitor of {environment.name} would notice a deploy now")
