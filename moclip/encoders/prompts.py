"""Named sets of prompt templates; ``{}`` is replaced by the class as a person would say it."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

import yaml

# openai/CLIP, data/prompts.md, section UCF101: 48 templates.
CLIP48 = tuple(
    f"a {medium} of {article} person {verb}{{}}."
    for medium in ("photo", "video", "example", "demonstration")
    for article in ("a", "the")
    for verb in ("", "using ", "doing ", "during ", "performing ", "practicing ")
)

# microa/MoCLIP-Lite, for phrases like "riding a bike": 12 templates.
REFERENCE12 = (
    "a photo of {}", "a video of {}", "a person is {}", "a photo of a person {}", "a video of a person {}",
    "a human {}", "an image of {}", "a scene of {}", "the action of {}", "a demonstration of {}",
    "a clip of someone {}", "an example of a person {}",
)  # fmt: skip

# Ours, for classes that are moving things, not actions of people (MovingPhotos).
SCENE = ("a photo of a {}.", "a video of a {}.", "an example of a {}.", "a picture of a {}.")

TEMPLATES: dict[str, tuple[str, ...]] = {
    "clip48": CLIP48,
    "reference12": REFERENCE12,
    "scene": SCENE,
    "name": ("{}",),
}


@cache
def phrases() -> dict[str, list[str]]:
    """Verb phrases for UCF101's classes, for ``reference12``: ours, in the style of the published ones."""
    text = (resources.files("moclip.encoders") / "phrases.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)  # type: ignore[no-any-return]


def class_prompts(which: str, classes: Sequence[str], class_texts: Mapping[str, str]) -> list[list[str]]:
    """All prompts of each class.

    Parameters
    ----------
    which : a set of `TEMPLATES`. ``reference12`` uses `phrases` instead of the class text, if the class has any.
    classes : class names, for instance ``dataset.classes``.
    class_texts : class name -> how a person would say it, ``dataset.class_texts``.
    """
    known = phrases() if which == "reference12" else {}
    return [
        [template.format(text) for text in known.get(name, [class_texts[name]]) for template in TEMPLATES[which]]
        for name in classes
    ]
