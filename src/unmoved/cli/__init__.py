"""The command line: `unmoved certify | attack | check | report | doctor | demo | verify | supports | bench`."""

from unmoved.cli import solver
from unmoved.cli.app import main

__all__ = ["main", "solver"]
