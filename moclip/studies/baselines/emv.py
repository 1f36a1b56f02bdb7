"""EMV-CNN and DTMV-CNN: motion vectors instead of flow, taught by a flow network (Zhang et al., CVPR 2016; TIP 2018).

Taken from the paper: the network (ClarifaiNet-like: CNN-M-2048 with PReLU, both normalisations, dropout 0.9 and 0.8;
from the description of the released model, zbwglory/MV-release), 10 stacked vector frames, and the two transfers that
the 2016 paper names, combined: the motion network starts from the flow network's weights (initialisation transfer) and
learns from its softened scores beside the labels (supervision transfer). Temperature and weight are ours. The 2018
paper adds a fourth strategy, of which only the abstract was available: ``dtmv_cnn`` is the same network and is not
trained separately.
"""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from moclip.studies.baselines.trunks import CNNM

TEMPERATURE = 2.0


# (B, 20, H, W), x and y of 10 vector frames in turn -> (B, C)
emv_cnn = partial(CNNM, channels=20, activation=nn.PReLU, dropout=(0.9, 0.8))


def transfer_initialisation(student: nn.Module, teacher: nn.Module) -> None:
    """Copy every weight and bias of the teacher's convolutions and linear layers into the student, in place.

    Slopes of the student's PReLUs keep their initial values: a teacher with ReLUs has none.

    Raises
    ------
    ValueError
        The two do not have the same layers of the same shapes.
    """
    networks = (student, teacher)
    layers = [[layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)] for net in networks]
    shapes = [[tuple(layer.weight.shape) for layer in net] for net in layers]
    if shapes[0] != shapes[1]:
        raise ValueError(f"layers of student and teacher differ: {shapes[0]} and {shapes[1]}; build both of one width")
    for to, source in zip(*layers, strict=True):
        to.load_state_dict(source.state_dict())


def soft_target_loss(logits: Tensor, labels: Tensor, teacher: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Cross-entropy with the labels, plus T^2 times the cross-entropy with the teacher's scores, both softened by T.

    The factor T^2 keeps the gradients of the second part as large as those of the first (Hinton et al. 2015).

    Parameters
    ----------
    logits, teacher : (B, C).
    labels : (B,).
    temperature : T, the divisor of the logits before the softmax.
    """
    soft = F.cross_entropy(logits / temperature, (teacher / temperature).softmax(dim=-1))
    return F.cross_entropy(logits, labels) + temperature**2 * soft
