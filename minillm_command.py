"""Where the command `minillm` begins: Ctrl-C ends it quietly from here on, while NumPy is still being imported."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit."""
    try:
        from minillm.cli.main import run

        code = run()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        code = 130
    sys.exit(code)
