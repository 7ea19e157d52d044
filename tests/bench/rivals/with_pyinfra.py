"""A deploy of pyinfra's: it does the acts of a file, each on all hosts at once, or on the first host alone."""
# mypy: ignore-errors
# (it runs in an environment of its own, which has pyinfra)

import json
import os
from pathlib import Path

from pyinfra.operations import server

for act in json.loads(Path(os.environ["BENCH_ORDER"]).read_text(encoding="utf-8"))["acts"]:
    server.shell(name=act["name"], commands=[act["command"]], _run_once=act["once"])
