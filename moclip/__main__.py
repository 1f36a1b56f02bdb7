"""``python -m moclip`` is the `moclip` command."""

from moclip.cli.main import main

main()
