"""Groups of commands of ``moclip``, a module each; what they share is in ``options``."""
