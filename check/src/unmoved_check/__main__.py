"""`python -m unmoved_check`."""

import sys

from unmoved_check.cli import main

sys.exit(main())
