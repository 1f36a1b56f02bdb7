"""X-CLIP: CLIP's towers with attention across frames and prompts made from the video (Ni et al., ECCV 2022).

Taken from the paper, through transformers' ``XCLIPModel``: ViT-B/16 with a message token per frame, a one-layer
transformer over frames, text embeddings of the class names adapted to the video. Random weights, or those of a folder.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moclip.encoders.clip import import_clip


class XCLIP(nn.Module):
    """Logits of a video against class names.

    Parameters
    ----------
    num_classes : number of classes C.
    width : factor on all widths; 1 is ViT-B/16's.
    frames : T; 8 in the supervised protocol, 32 in the zero-shot one.
    size : side of a frame in pixels.
    weights : folder that transformers can read; it then sets all sizes.
    """

    tokens: Tensor

    def __init__(
        self, num_classes: int, width: float = 1.0, frames: int = 8, size: int = 224, weights: str | None = None
    ) -> None:
        super().__init__()
        from transformers import XCLIPConfig, XCLIPModel

        seen, read = round(768 * width), round(512 * width)
        heads = max(1, read // 64)
        vision = {
            "hidden_size": seen, "intermediate_size": 4 * seen, "num_attention_heads": max(1, seen // 64),
            "mit_hidden_size": read, "mit_intermediate_size": 4 * read, "mit_num_attention_heads": heads,
            "image_size": size, "patch_size": 16, "num_frames": frames,
        }  # fmt: skip
        if weights is None:
            text = {"hidden_size": read, "intermediate_size": 4 * read, "num_attention_heads": heads}
            config = XCLIPConfig(
                text_config=text, vision_config=vision, projection_dim=read, prompt_num_attention_heads=heads
            )
            self.model = XCLIPModel(config)
        else:
            self.model = XCLIPModel.from_pretrained(weights, local_files_only=True)
        self.register_buffer("tokens", torch.zeros(num_classes, 77, dtype=torch.long))

    def name_classes(self, texts: Sequence[str]) -> None:
        """Set the names of the classes, C texts."""
        self.tokens.copy_(import_clip().tokenize(list(texts)))

    def forward(self, video: Tensor) -> Tensor:
        """(B, T * 3, H, W), the frames' channels one after another -> logits (B, C)."""
        if not self.tokens.any():
            raise ValueError("the classes have no names, so all of them are the same: call name_classes(texts) first")
        pixels = video.unflatten(1, (-1, 3))  # (B, T, 3, H, W)
        return self.model(input_ids=self.tokens, pixel_values=pixels).logits_per_video

    def encode_video(self, video: Tensor) -> Tensor:
        """(B, T * 3, H, W) -> (B, 512 * width): the part that runs for every video; texts are computed once."""
        return self.model.get_video_features(video.unflatten(1, (-1, 3))).pooler_output
