"""The fingerprint of a generation's variables: it tells two sets of variables apart without showing them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_COST = 2**13
"""With 8 blocks: 8 MiB and some 20 ms for each attempt."""


def fingerprint(variables: Mapping[str, str], environment: str) -> str:
    """Sixteen hex digits, the same for the same variables of the same environment.

    It goes into the record and into logs, and there are passwords among the variables. So it is made by scrypt, which
    makes it slow to try passwords one after the other.
    """
    content = json.dumps(sorted(variables.items())).encode()
    return hashlib.scrypt(content, salt=environment.encode(), n=_COST, r=8, p=1, dklen=8).hex()
