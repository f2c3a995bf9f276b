"""``python -m mcusim``: the command line."""

from mcusim.cli import main

main()
