"""The policy's promises beyond the table of cases (tests/edge/cases.py), each as a scenario with visitors.

They pass under the policy, and fail under a broken one.
"""

from tests.edge.fastly.scenarios import closed, in_force, nodes, seen, stored, strangers  # noqa: F401 - each adds its own
from tests.edge.fastly.scenarios.telling import PASS, SCENARIOS, SHORT_PAGE, STRANGERS, served_stale

__all__ = ["PASS", "SCENARIOS", "SHORT_PAGE", "STRANGERS", "served_stale"]
