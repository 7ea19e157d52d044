"""The fingerprints of a generation's variables and users: each tells two sets apart, and variables' shows none."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgeguard.cluster.host.generations import User

_COST = 2**13
"""With 8 blocks: 8 MiB and some 20 ms for each attempt."""


def fingerprint(variables: Mapping[str, str], environment: str) -> str:
    """Sixteen hex digits, the same for the same variables of the same environment.

    It goes into the record and into logs, and there are passwords among the variables. So it is made by scrypt, which
    makes it slow to try passwords one after the other.
    """
    content = json.dumps(sorted(variables.items())).encode()
    return hashlib.scrypt(content, salt=environment.encode(), n=_COST, r=8, p=1, dklen=8).hex()


def of_users(users: Iterable[User]) -> str:
    """Sixteen hex digits, the same for the same people with the same keys; "" for nobody. Comments don't count."""
    said = sorted((user.name, user.role, sorted(" ".join(key.split()[:2]) for key in user.keys)) for user in users)
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16] if said else ""
