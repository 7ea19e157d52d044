"""Who changed the grace, when and why: items of their own in the dictionary, beside the slots."""

from __future__ import annotations

import time

from edgeguard.edge.grace import new_nonce


def audit_key() -> str:
    """The dictionary key of an audit line: its time, and something that no other writer has."""
    return f"audit-{int(time.time())}-{new_nonce()}"
