"""`python -m minillm` is the command `minillm`."""

from _minillm_command import main

main()
