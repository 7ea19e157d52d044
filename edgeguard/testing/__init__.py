"""The contract suite: what every driver of a cluster has to keep, as tests that run over any driver.

`edgeguard.cluster.Cluster` says what a driver promises, and these tests hold a driver to it, with real processes. The
author of a driver needs two things besides the driver: this extra, and a world, which is the servers on which the suite
may deploy. From any folder:

    pip install 'edgeguard[testing]'
    pytest --pyargs edgeguard.testing --edgeguard-driver NAME --edgeguard-world MODULE

NAME is the driver's entry point (group `edgeguard.drivers`). MODULE can be imported and has a class `World`, made from
this package's:

    from edgeguard import testing

    class World(testing.World):
        def start(self) -> None: ...                    # servers to which nothing was deployed
        def settings(self) -> dict[str, object]: ...    # the table [cluster] that names them
        def end(self) -> None: ...                      # leave no process behind

`edgeguard.testing.World` documents these methods and the optional ones. A test that needs a method which a world does
not fill in is skipped, and the reason names the method. `edgeguard.testing.local` is the world of the driver `local`,
and the example to follow. The suite can also be a part of the driver's own tests:

    from edgeguard.testing.suite import *    # every test

    @pytest.fixture
    def world(tmp_path):                     # the fixture by which they reach the servers
        with World("NAME", tmp_path) as world:
            yield world
"""

from __future__ import annotations

from edgeguard.testing.world import World

__all__ = ["World"]
