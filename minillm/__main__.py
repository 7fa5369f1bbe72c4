"""`python -m minillm` is the command `minillm`."""

from minillm_command import main

main()
