"""Where the command `minillm` begins: Ctrl-C ends it quietly from here on, while NumPy is still being imported."""

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit."""
    if sys.argv[1:2] in (["lesson"], ["claims"]):  # they time small products: threads of a busy machine would wait
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from minillm.cli.main import run

        code = run()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        code = 130
    sys.exit(code)
