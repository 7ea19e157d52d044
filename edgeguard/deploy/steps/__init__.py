"""The steps of a deploy. Each makes one state true, and can restore the state before it.

The files in the order of the phases are before.py, claim.py, proof.py, closure.py, hook.py and after.py. The steps
share the deployment (../deployment.py), and no step knows another.
"""

from edgeguard.deploy.deployment import UNGUARDED, Deployment
from edgeguard.deploy.steps.after import Finish, Healthy, OriginsSick, Purge, commit, wanted
from edgeguard.deploy.steps.before import ACCEPTABLE, Build, Earlier, Lock, Preflight, Stage
from edgeguard.deploy.steps.claim import ClaimGrace, ReleaseClaim
from edgeguard.deploy.steps.closure import Check, Close, Drain, Open, StopTasks, Swap
from edgeguard.deploy.steps.hook import Hook, PostDeploy, end_of, runs_on, unknown, ways_on
from edgeguard.deploy.steps.proof import Proof
from edgeguard.deploy.steps.step import Step

__all__ = [
    "ACCEPTABLE",
    "UNGUARDED",
    "Build",
    "Check",
    "ClaimGrace",
    "Close",
    "Deployment",
    "Drain",
    "Earlier",
    "Finish",
    "Healthy",
    "Hook",
    "Lock",
    "Open",
    "OriginsSick",
    "PostDeploy",
    "Preflight",
    "Proof",
    "Purge",
    "ReleaseClaim",
    "Stage",
    "Step",
    "StopTasks",
    "Swap",
    "commit",
    "end_of",
    "runs_on",
    "unknown",
    "wanted",
    "ways_on",
]
