"""`python -m minillm` is the command `minillm`."""

from minillm.cli.main import main

main()
