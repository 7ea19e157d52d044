"""Deploys that visitors of a site behind Fastly don't notice."""

__version__ = "0.1.0"
