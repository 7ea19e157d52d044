"""What happens on one server: its record and fence, its generations, its hooks, its processes, its images.

This package is a program of its own. It needs the standard library of Python 3.9 or newer and imports nothing else of
edgeguard, so that the very same code runs in two places: `local` calls it in its own process, and a server runs it
from an archive (edgeguard/cluster/archive.py makes it). It has errors of its own, each with a code, and one place turns
them into edgeguard's: edgeguard/cluster/errors.py.
"""
