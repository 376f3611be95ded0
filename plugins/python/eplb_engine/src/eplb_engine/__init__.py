"""Plug-ins by which serving engines ask a running `eplb serve` where their experts go."""

__version__ = "0.1.0"
