"""`python -m minillm` runs the command `minillm`."""

from _minillm_command import main

main()
