"""The hosts for pyinfra."""
# mypy: ignore-errors
# (it runs in an environment of its own, which has pyinfra)

import json
import os
from pathlib import Path

_order = json.loads(Path(os.environ["BENCH_ORDER"]).read_text(encoding="utf-8"))
_access = {
    "ssh_user": "root",
    "ssh_key": _order["key"],
    "ssh_known_hosts_file": _order["known_hosts"],
    "ssh_strict_host_key_checking": "yes",
}
hosts = [(address, _access) for address in _order["hosts"]]
