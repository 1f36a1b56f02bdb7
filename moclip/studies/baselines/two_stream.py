"""Two-Stream: one frame, and ten fields of optical flow (Simonyan & Zisserman, NeurIPS 2014).

Taken from the paper: CNN-M-2048 in both streams, 2 x 10 = 20 flow channels, no second normalisation in the temporal
stream, dropout 0.9, and both fusions of the softmax scores: their mean, and a linear SVM on the stacked, L2-normalised
scores. The original's spatial stream starts from ImageNet and its temporal stream is also trained on HMDB51; here
nothing is pre-trained. The original's flow is that of Brox et al.; ours is DIS (`moclip.studies.baselines.inputs`).
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from moclip.studies.baselines.trunks import CNNM

# The streams: (B, 3, H, W) -> (B, C), and (B, 20, H, W), x and y of 10 fields in turn -> (B, C).
spatial = partial(CNNM, channels=3)
temporal = partial(CNNM, channels=20, second_norm=False)


def svm_fusion(train: Sequence[np.ndarray], labels: np.ndarray, test: Sequence[np.ndarray]) -> np.ndarray:
    """Scores of a linear SVM trained on both streams' probabilities of the training clips.

    Parameters
    ----------
    train, test : softmax scores of each stream, (N, C).
    labels : of the training clips, (N,); every class occurs.

    Returns
    -------
    (N_test, C)
        Distances from the hyperplanes, one versus rest.
    """
    from sklearn.preprocessing import normalize
    from sklearn.svm import LinearSVC

    stacked_train, stacked_test = (np.hstack([normalize(scores) for scores in streams]) for streams in (train, test))
    distances = LinearSVC(random_state=0).fit(stacked_train, labels).decision_function(stacked_test)
    return distances if distances.ndim == 2 else np.column_stack([-distances, distances])  # of two classes: one column
