"""The steps of a deploy. Each makes one state true, and can restore what was there before.

In the order of their phases: before.py, guard.py, closure.py, after.py; what they share is in deployment.py.
"""

from edgeguard.steps.after import Finish, Healthy, PostDeploy, Purge, ReleaseClaim
from edgeguard.steps.before import ACCEPTABLE, Build, Lock, Preflight, Stage
from edgeguard.steps.closure import Check, Close, Drain, Hook, Open, StopTasks, Swap
from edgeguard.steps.deployment import Deployment, Step, short
from edgeguard.steps.guard import ClaimGrace, Proof

__all__ = [
    "ACCEPTABLE",
    "Build",
    "Check",
    "ClaimGrace",
    "Close",
    "Deployment",
    "Drain",
    "Finish",
    "Healthy",
    "Hook",
    "Lock",
    "Open",
    "PostDeploy",
    "Preflight",
    "Proof",
    "Purge",
    "ReleaseClaim",
    "Stage",
    "Step",
    "StopTasks",
    "Swap",
    "short",
]
