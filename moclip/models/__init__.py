"""The networks of the paper; those of Table I's other systems are known by name."""

from moclip.models.registry import create_model, list_models

__all__ = ["create_model", "list_models"]
