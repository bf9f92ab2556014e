"""Track landmarks through the frames of a clip with subpixel precision."""

import cv2
import numpy as np
from numpy.typing import NDArray

FOLLOW_VERSION = 1
"""Version of `follow`; increased when it gives other landmarks."""


def follow(frames: NDArray[np.uint8], onset: NDArray[np.float32]) -> NDArray[np.float32]:
    """Track the landmarks of the onset to every other frame by optical flow.

    Papers detect landmarks in every frame, but the noise of a detector is larger than a
    micro-expression: on 60 synthesized pairs at 128 pixels (true motion of brows, eyes, nose and
    mouth 0.68 px root mean square) the correlation with the true motion is .65 for dlib's
    detections, .88 for dlib on frames enlarged four times, and .91 for tracking.

    Args:
        frames: ``uint8 (T, S, S, 3)`` RGB, the first one the onset.
        onset: ``float32 (68, 2)``, x and y in pixels of the onset.

    Returns:
        ``float32 (T, 68, 2)``, the first one equal to `onset`.
    """
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    x, y = np.ascontiguousarray(onset[:, :1]), np.ascontiguousarray(onset[:, 1:])
    points = [onset.astype(np.float32)]
    for frame in grey[1:]:
        flow = method.calc(grey[0], frame, np.zeros((*frame.shape, 2), np.float32))
        moved = cv2.remap(flow, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        points.append((onset + moved[:, 0]).astype(np.float32))
    return np.stack(points)
