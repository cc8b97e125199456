"""Run the command line as ``python -m prefboost``, where the script ``prefboost`` is not on the search path."""

from __future__ import annotations

import sys

from prefboost.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
