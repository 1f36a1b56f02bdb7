"""What `save_pretrained` writes beside the weights: the model card."""

from typing import Any

CARD = """---
{{ card_data }}
---

# {{ title | default("MoCLIP-Lite, a part of it", true) }}

{{ about | default("Saved without the facts of a run: what it was trained on is not known here.", true) }}

{% if facts %}| | |
|---|---|
{% for name, value in facts.items() %}| {{ name }} | {{ value }} |
{% endfor %}{% endif %}
{{ accuracy | default("Accuracy: not measured.", true) }}

```python
{{ usage | default("model = ModelClass.from_pretrained(folder)", true) }}
```

For research and teaching, not for decisions about people. A clip of none of the classes gets one all the same.
This is not the authors' model; the method is that of [arXiv 2509.17084]({{ paper_url }}).
"""

# Keywords of huggingface_hub's mixin.
HUB: dict[str, Any] = {
    "library_name": "moclip",
    "license": "mit",
    "tags": ["video-classification", "motion-vectors"],
    "paper_url": "https://arxiv.org/abs/2509.17084",
    "model_card_template": CARD,
}
