"""The prompts of classes: templates (``templates.yaml``) around each class as a person would say it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml


def _read(name: str) -> dict[str, list[str]]:
    return yaml.safe_load(Path(__file__).with_name(name).read_text(encoding="utf-8"))  # type: ignore[no-any-return]


TEMPLATES = _read("templates.yaml")
# Verb phrases for UCF101's classes, for ``reference12``: ours, in the style of the published ones.
PHRASES = _read("phrases.yaml")


def class_prompts(which: str, classes: Sequence[str], class_texts: Mapping[str, str]) -> list[list[str]]:
    """All prompts of each class.

    Parameters
    ----------
    which : a set of `TEMPLATES`. ``reference12`` uses `PHRASES` instead of the class text, if the class has any.
    classes : class names, for instance ``dataset.classes``.
    class_texts : class name -> how a person would say it, ``dataset.class_texts``.
    """
    known = PHRASES if which == "reference12" else {}
    return [
        [template.format(text) for text in known.get(name, [class_texts[name]]) for template in TEMPLATES[which]]
        for name in classes
    ]
