"""A trained model as a folder that `from_pretrained` reads, here or on the Hugging Face hub."""

from pathlib import Path
from typing import Any

from moclip.engine.checkpoints import load_checkpoint
from moclip.io.artefacts import load_json, read_predictions, save_json

SYSTEMS = {"mv_tsn": "mv_only", "fusion": "fusion"}  # model -> name of its predictions
CLASS = {"mv_tsn": "moclip.models.mv_tsn.MVTSN", "fusion": "moclip.models.fusion.FusionHead"}


def save_pretrained(run: Path, name: str, folder: Path | str) -> None:
    """Write a run's checkpoint as ``model.safetensors``, ``config.json``, ``moclip.json`` and a model card.

    Parameters
    ----------
    run : ``runs/<run>``.
    name : ``mv_tsn-<data set>`` or ``fusion-<data set>-seed<k>``, as under ``checkpoints/``.
    folder : where to write; an older card there is replaced.

    Notes
    -----
    The card has an accuracy only where the run's predictions were made by these very weights.
    """
    model: Any = load_checkpoint(run / "checkpoints" / f"{name}.safetensors")
    header = load_json(run / "checkpoints" / f"{name}.json")
    folder = Path(folder)
    (folder / "README.md").unlink(missing_ok=True)
    model.save_pretrained(folder, model_card_kwargs=_card(header, measured(run, header)))
    save_json(folder / "moclip.json", header)


def measured(run: Path, header: dict[str, Any]) -> tuple[float, int] | None:
    """Accuracy and number of test clips of a checkpoint; None where its predictions are not there."""
    path = run / "predictions" / header["dataset"] / f"{SYSTEMS[header['model']]}-seed{header['seed']}.json"
    if not path.is_file() or load_json(path).get("weights") != header["weights"]:
        return None
    rows = read_predictions(path.with_suffix(".csv"))
    return float(rows["correct"].mean()), len(rows)


def _card(header: dict[str, Any], accuracy: tuple[float, int] | None) -> dict[str, Any]:
    """Values of the card's template, see `moclip.models.hub`."""
    name = header["model"]
    facts = {
        "data": f"{header['data']} (`{header['dataset']}`, hash {header['fingerprint']})",
        "classes": f"{len(header['classes'])}: {', '.join(header['classes'])}",
        "protocol": header["protocol"],
        "seed": header["seed"],
        "arguments": header["arguments"],
        "motion": header["motion"],
        "encoder": header["encoder"]["name"] if name == "fusion" else "none: motion vectors alone",
        "versions": ", ".join(f"{package} {version}" for package, version in header["versions"].items()),
        "weights": f"hash {header['weights']}",
    }
    what = {
        "mv_tsn": "The motion network: motion fields (B, S, 2, H, W) in, logits of each segment (B, S, C) out.",
        "fusion": "The fusion head: appearance (B, A) and motion features (B, M) of frozen encoders in, logits out.",
    }
    module, _, own_class = CLASS[name].rpartition(".")
    return {
        "title": f"{name}, trained on {header['dataset']}",
        "about": what[name],
        "facts": facts,
        "accuracy": f"Top-1 accuracy on its {accuracy[1]} test clips: {100 * accuracy[0]:.1f} %." if accuracy else "",
        "usage": f"from {module} import {own_class}\n\nmodel = {own_class}.from_pretrained(folder)",
    }
