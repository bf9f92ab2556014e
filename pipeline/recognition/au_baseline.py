"""How much of the labels the annotated Action Units alone give away.

Emotion labels of micro-expression databases are partly derived from AU codes (a gradient boosting
from AUs to emotions reaches macro F1 of .83 to .96 on CASME, CASME II, SAMM and MMEW, .32 on
CAS(ME)3; figures of the MEB project). Beside a recognizer's score stands therefore what somebody
would reach who saw no pixel, only the codes.
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
    """Answers every clip of a protocol from its AU codes, trained on the codes of its fold.

    Multinomial logistic regression on which of the 17 AUs are coded, classes weighted alike. A
    clip without codes gets the most frequent class of its fold's training clips.

    Args:
        infos: The clips.
        folds: Of the protocol.

    Returns:
        The class of each clip by key; None where fewer than half of the clips are coded, or a
        fold trains on coded clips of one class only.
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
    """Which AUs are coded, ``(17,)`` of 0 and 1; None where nobody coded."""
    if info.aus is None:
        return None
    try:
        return parse_facs(info.aus, alternatives="all").presence.astype(np.float32)
    except ValueError:
        return None
