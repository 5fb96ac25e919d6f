"""The command line: `unmoved certify | attack | check | report | evaluate | compare | verify | ...`."""

from unmoved.cli import solver, study
from unmoved.cli.app import main

__all__ = ["main", "solver", "study"]
