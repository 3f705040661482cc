"""`python -m sample_theodore` is the command line."""

from sample_theodore.cli import main

main()
