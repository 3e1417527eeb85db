"""`python -m costsim`: the command line where its script is not on the path."""

import sys

from costsim.cli import main

sys.exit(main())
