"""The driver `commands`: a command of yours for each step. It is the smallest driver, and the one to read first.

    options.py    what an environment's file says: a command for each step, and how long it may take
    command.py    how a command is run: its facts are environment variables, and its exit code is the answer
    observed.py   what `observe` prints: every server as it is now
    records.py    where the record is kept: by two commands, or in a folder of this machine
    facts.py      what a step is told of its generation
    hook.py       how the command `hook` is run and watched
    driver.py     the Protocol, step by step

What this driver can't promise, compared with the Protocol (edgeguard/cluster/__init__.py):

* **Check and act under one lock.** The driver reads the record at the beginning of each step, and refuses if another
  epoch is in force. It can't look again while the command runs. If the lock is taken over in that time, the command of
  the old holder goes on, at most to its limit, and without a limit where edgeguard was killed beside it. A script that
  must be stricter holds a lock on its server, compares the record's epoch there with EDGEGUARD_EPOCH, and exits 75 if
  they differ, all before it changes anything.
* **All servers open, or none.** The driver opens only if all servers run the generation. If your command for one server
  fails after another server was opened, the driver can't close that one again: the deploy's undo does.
* **A hook's end, told to every machine.** The hook's ledger is on the machine that ran the hook. Any other machine says
  HookUnknown of a deploy hook whose start the record claims. The record claims no post-deploy hook, so another machine
  may start that one again.
"""

from edgeguard.cluster.commands.driver import CommandsCluster

__all__ = ["CommandsCluster"]
