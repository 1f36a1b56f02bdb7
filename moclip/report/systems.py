"""The systems of the paper and the controls: names, looks and parts, in one table for all tables and figures."""

from dataclasses import dataclass


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


IMAGE, MOTION, HEAD = "image tower", "motion network", "head"
SYSTEMS = {
    "zero_shot": System("zero-shot", "#CC79A7", "s", "clip_zero_shot", "Zero-shot", "RGB", (IMAGE,)),
    "mv_only": System("MV-only", "#E69F00", "^", "mv_tsn", "MV-only", "MV", (MOTION,), (MOTION,)),
    "fusion": System(
        "fusion", "#0072B2", "o", "fusion", "MoCLIP-Lite (fusion)", "RGB + MV", (IMAGE, MOTION, HEAD), (MOTION, HEAD)
    ),
    "appearance_head": System("appearance head", "#009E73", "D", "fusion"),
    "motion_head": System("motion head", "#D55E00", "v", "fusion"),
    "fusion_permuted": System("fusion, motion permuted", "#999999", "X", "fusion"),
}
MAIN_SYSTEMS = ("zero_shot", "mv_only", "fusion")  # the paper's
SINGLE_STREAMS = ("zero_shot", "mv_only")  # the systems that fusion joins
FUSION = "fusion"
CONTROL = "appearance_head"  # trained as fusion is, without motion: what it corrects too was not corrected by motion
