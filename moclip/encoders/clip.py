"""OpenAI's CLIP through the ``clip`` module."""

import os
import tempfile
import warnings
from pathlib import Path
from types import ModuleType

from torch import Tensor, nn

from moclip.encoders.base import Encoder, EncoderError
from moclip.io.files import sha256_file
from moclip.models.backbones import WeightsError

CACHE = Path("~/.cache/clip")  # the default of the `clip` module


class CLIPEncoder(Encoder):
    """CLIP's two towers in FP32, with QuickGELU.

    Parameters
    ----------
    weights : an official name (``ViT-B/32``) or a file in OpenAI's format: TorchScript archive or state dict.
    cache : folder of the official files; `CACHE` if None.
    """

    def __init__(self, weights: str, cache: Path | str | None = None) -> None:
        super().__init__()
        self.name = f"clip:{weights}"
        self.image_architecture = self.text_architecture = f"CLIP {Path(weights).stem if '.' in weights else weights}"
        clip = import_clip()
        try:
            self.model, self.transform = clip.load(str(_file(clip, weights, cache)), device="cpu", jit=False)
        except WeightsError:
            raise
        except Exception as error:  # pickle, zip, a wrong state dict, the network: all kinds
            raise WeightsError(
                f"CLIP's weights for {weights!r} could not be loaded ({type(error).__name__}: {error}). Remedies: "
                f"connect to the network once; put the official file into {cache or CACHE} (under its own name; "
                "encoder.cache names another folder); or name a local file: encoder.name=clip:/path/to/ViT-B-32.pt. "
                "Without CLIP: encoder.name=offline"
            ) from error
        self.model.float()
        self.feature_dim = int(self.model.text_projection.shape[1])
        self.logit_scale = self.model.logit_scale.exp().item()
        self.image_tower = self.model.visual
        self.freeze()

    def _encode_texts(self, texts: list[str]) -> Tensor:
        try:
            tokens = import_clip().tokenize(texts, self.model.context_length)
        except RuntimeError as error:
            raise EncoderError(f"{error}; shorten the class text or the template") from None
        return self.model.encode_text(tokens.to(self.model.text_projection.device))


def untrained_image_tower(width: float = 1.0, size: int = 224) -> nn.Module:
    """The image tower of ViT-B/32 with random weights and 512-d output, for counting and timing only.

    ``width`` is a factor on its widths, including the output's; ``size`` is the side of its images in pixels.
    """
    vision_transformer = import_clip().model.VisionTransformer
    dim = round(768 * width)
    heads, output = max(1, dim // 64), round(512 * width)
    tower = vision_transformer(size, patch_size=32, width=dim, layers=12, heads=heads, output_dim=output)
    return tower.eval().requires_grad_(False)  # type: ignore[no-any-return]


def _file(clip: ModuleType, weights: str, cache: Path | str | None) -> Path:
    """The file of the weights: the user's, or the official one, downloaded if absent and checked by SHA-256."""
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    official = clip.clip._MODELS
    if weights not in official:
        raise WeightsError(
            f"{weights!r} is neither a file nor one of CLIP's models: {', '.join(official)}; "
            "name one of these or a file; or use no CLIP: encoder.name=offline"
        )
    url = official[weights]
    expected, file_name = url.split("/")[-2:]
    folder = Path(cache or CACHE).expanduser()
    path = folder / file_name
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        # Renamed only when complete: the `clip` module itself would leave half a file after a kill.
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            os.replace(clip.clip._download(url, temporary), path)
    if (found := sha256_file(path)) != expected:
        raise WeightsError(
            f"{path}: SHA-256 is {found}, the official one is {expected}; delete the file, or, to use it as it is, "
            f"name it: encoder.name=clip:{path}"
        )
    return path


def import_clip() -> ModuleType:
    """The module ``clip``, without the warning that it prints on import."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "pkg_resources is deprecated")  # clip-anytorch
            import clip
    except ImportError as error:
        raise WeightsError(f"`import clip` failed ({error}); run: pip install 'moclip-lite[clip]'") from error
    return clip  # type: ignore[no-any-return]
