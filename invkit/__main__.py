"""`python -m invkit`."""

from invkit.cli import main

main()
