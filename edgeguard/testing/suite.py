"""Every test of the suite in one module, for `from edgeguard.testing.suite import *` in a driver's own tests."""

# ruff: noqa: F403 (the tests are found by pytest; nobody names them)
from edgeguard.testing.test_closing import *
from edgeguard.testing.test_deploys import *
from edgeguard.testing.test_fence import *
from edgeguard.testing.test_hooks import *
from edgeguard.testing.test_images import *
from edgeguard.testing.test_logs import *
from edgeguard.testing.test_lost_servers import *
from edgeguard.testing.test_processes import *
from edgeguard.testing.test_record import *
from edgeguard.testing.test_runs import *
from edgeguard.testing.test_tasks import *
