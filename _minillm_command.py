"""The entry point of the command `minillm`. From here on Ctrl-C ends it quietly, also while NumPy is being imported."""

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit."""
    # These two time small products; on a busy machine several BLAS threads would wait for each other.
    if sys.argv[1:2] in (["lesson"], ["claims"]):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from minillm.cli.main import run

        code = run()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        code = 130
    sys.exit(code)
