"""The systems of the paper and the controls: names, looks and parts, in one table for all tables and figures.

The table is ``systems.yaml``.
"""

from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class System:
    """One system.

    Attributes
    ----------
    label : its name in figures.
    colour, marker : its look in figures; the colours are of Okabe and Ito's palette, which is safe for colour-blind
        readers.
    model : its own network, by its name in `moclip.list_models`.
    method, modality : its name and its input in Tables I and II; empty for controls, which the paper lacks.
    parts : the parts of one prediction, by their names in ``costs/*.csv``.
    online : the parts that still run if appearance features were computed beforehand (Table II).
    """

    label: str
    colour: str
    marker: str
    model: str
    method: str = ""
    modality: str = ""
    parts: tuple[str, ...] = ()
    online: tuple[str, ...] = ()


_FACTS = yaml.safe_load((Path(__file__).parent / "systems.yaml").read_text(encoding="utf-8"))
SYSTEMS = {name: System(**facts) for name, facts in _FACTS.items()}
MAIN_SYSTEMS = ("zero_shot", "mv_only", "fusion")  # the paper's
SINGLE_STREAMS = ("zero_shot", "mv_only")  # the systems that fusion joins
FUSION = "fusion"
CONTROL = "appearance_head"  # trained as fusion is, without motion: what it corrects too was not corrected by motion
