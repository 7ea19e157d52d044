"""Deploys by push: the hook of a bare repository, what pushes ask for, and the process that deploys them.

`git receive` notes each push of an environment's branch (pushes.py), starts a process that outlives the pusher
(turn.py), and tells the pusher what that process says (follow.py). The process runs `edgeguard deploy`, as a person
would.
"""
