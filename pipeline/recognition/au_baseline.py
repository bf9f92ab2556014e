"""Baseline that predicts emotions only from the annotated Action Units.

Emotion labels of micro-expression databases are partly derived from AU codes (gradient boosting
from AUs to emotions reaches a macro F1 of .83 to .96 on CASME, CASME II, SAMM and MMEW, and .32 on
CAS(ME)3; figures of the MEB project). Results therefore show the score of this baseline, which uses
no pixels, beside that of the recognizer.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from miex.au_sources.action_units import parse_facs
from miex.pipeline.recognition.protocols import Fold
from miex.pipeline.recognition.sample import SampleInfo


def predict_from_aus(infos: Sequence[SampleInfo], folds: Sequence[Fold]) -> dict[str, int] | None:
    """Predict every clip of a protocol from its AU codes, trained on the codes of its fold.

    Multinomial logistic regression on the presence of the 17 AUs, with balanced classes. A clip
    without codes gets the most frequent class of the training clips.

    Args:
        infos: The clips.
        folds: Folds of the protocol.

    Returns:
        The class of each clip by key; None if fewer than half of the clips are coded, or a fold
        has coded training clips of only one class.
    """
    coded = {
        index: vector for index, info in enumerate(infos) if (vector := _vector(info)) is not None
    }
    tested = [index for fold in folds for index in fold.test]
    if 2 * sum(index in coded for index in tested) < len(tested):
        return None
    answers: dict[str, int] = {}
    for fold in folds:
        known = [index for index in fold.train if index in coded]
        labels = [infos[index].label for index in known]
        if len(set(labels)) < 2:
            return None
        model = LogisticRegression(class_weight="balanced", max_iter=1000)
        model.fit(np.stack([coded[index] for index in known]), labels)
        majority = Counter(infos[index].label for index in fold.train).most_common(1)[0][0]
        for index in fold.test:
            answer = majority
            if index in coded:
                answer = int(model.predict(coded[index][None])[0])
            answers[infos[index].key] = answer
    return answers


def _vector(info: SampleInfo) -> NDArray[np.float32] | None:
    """Return the coded AUs, ``(17,)`` of 0 and 1; None without codes."""
    if info.aus is None:
        return None
    try:
        return parse_facs(info.aus, alternatives="all").presence.astype(np.float32)
    except ValueError:
        return None
