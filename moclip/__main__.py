"""``python -m moclip`` is the `moclip` command."""

from moclip.cli import main

main()
