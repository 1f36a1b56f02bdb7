"""The data sets by name: where each is defined, and what it needs from the user (``datasets.yaml``)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class DataSet:
    """One data set.

    Attributes
    ----------
    function : ``module:attribute`` of the function that lists its clips, see `moclip.registry`.
    needs : fields of the section `data` that name the user's folders.
    example : options of a command that uses it.
    """

    function: str
    needs: Sequence[str] = ()
    example: str = ""

    @property
    def has_folds(self) -> bool:
        """Official split lists exist, one per fold; `moclip data download` fetches clips and lists."""
        return "annotation_path" in self.needs


_TABLE = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
DATASETS = {name: DataSet(**values) for name, values in _TABLE.items()}
