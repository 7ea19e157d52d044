"""The verb for background tasks."""

from __future__ import annotations

from edgeguard.cli.app import app
from edgeguard.cli.options import Name, Options, verb


@verb(app, "edgeguard tasks production")
def tasks(name: Name, options: Options) -> None:
    """Show the background tasks: which workers run, when each cron runs next, and how its last run ended."""
    from edgeguard.cli.say.tasks import told
    from edgeguard.cluster import tasks as of_cluster
    from edgeguard.environment import cluster_alone

    _, cluster = cluster_alone(name, config=options.config)
    found = of_cluster.of(cluster, name)
    options.done({"environment": name, "tasks": [of_cluster.told(task) for task in found]}, told(name, found))
