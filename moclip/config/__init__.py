"""One validated configuration object per run."""

from moclip.config.load import load_config
from moclip.config.sections import Config, ConfigError

__all__ = ["Config", "ConfigError", "load_config"]
