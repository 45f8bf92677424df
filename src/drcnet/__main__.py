"""python -m drcnet: the same as the command drcnet."""

from drcnet.cli import main

main()
