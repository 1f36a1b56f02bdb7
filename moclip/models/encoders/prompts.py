"""Prompt templates, as data. Named sets; ``{}`` takes the class as a person would say it."""

# openai/CLIP, data/prompts.md, section UCF101: 48 templates.
CLIP48 = tuple(
    f"a {medium} of {article} person {verb}{{}}."
    for medium in ("photo", "video", "example", "demonstration")
    for article in ("a", "the")
    for verb in ("", "using ", "doing ", "during ", "performing ", "practicing ")
)

# Ours, for classes that are things in motion, not people's actions (MovingPhotos).
SCENE = ("a photo of a {}.", "a video of a {}.", "an example of a {}.", "a picture of a {}.")

TEMPLATES: dict[str, tuple[str, ...]] = {"clip48": CLIP48, "scene": SCENE, "name": ("{}",)}
