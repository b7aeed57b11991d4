"""``python -m filch``."""

from filch.cli import main

main()
