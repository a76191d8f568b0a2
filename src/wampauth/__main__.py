"""``python -m wampauth`` is the command line, too."""

from wampauth.cli import main

main(prog_name="wampauth")
