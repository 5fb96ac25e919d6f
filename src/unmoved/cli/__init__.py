"""The command line: `unmoved certify | attack | check | report | doctor | demo`."""

from unmoved.cli.app import main

__all__ = ["main"]
