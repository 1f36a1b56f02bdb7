"""The ``moclip`` command."""
