"""A plain script over asyncssh: it does the acts of a file, each on all hosts at once, or on the first host alone."""
# mypy: ignore-errors
# (it runs in an environment of its own, which has asyncssh)

import asyncio
import json
import sys
from pathlib import Path

import asyncssh


async def main(order: dict) -> None:
    access = {"username": "root", "client_keys": [order["key"]], "known_hosts": order["known_hosts"]}
    hosts = await asyncio.gather(*(asyncssh.connect(address, **access) for address in order["hosts"]))
    for act in order["acts"]:
        where = hosts[:1] if act["once"] else hosts
        await asyncio.gather(*(host.run(act["command"], check=True) for host in where))


asyncio.run(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
