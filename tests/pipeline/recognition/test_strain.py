import numpy as np
import torch

from miex.pipeline.recognition.representations.strain import strain_magnitude


def slow_strain(flow):
    """Shreve et al. 2011, pixel by pixel."""
    _, height, width = flow.shape

    def derivative(plane, y, x, axis):
        low, high = [y, x], [y, x]
        low[axis] = max(low[axis] - 1, 0)
        high[axis] = min(high[axis] + 1, plane.shape[axis] - 1)
        return (plane[tuple(high)] - plane[tuple(low)]) / (high[axis] - low[axis])

    found = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            ux, uy = derivative(flow[0], y, x, 1), derivative(flow[0], y, x, 0)
            vx, vy = derivative(flow[1], y, x, 1), derivative(flow[1], y, x, 0)
            tensor = np.array([[ux, (uy + vx) / 2], [(uy + vx) / 2, vy]])
            found[y, x] = np.linalg.norm(tensor)
    return found


def test_against_the_definition():
    flow = torch.randn(2, 2, 7, 9, generator=torch.Generator().manual_seed(0))
    expected = np.stack([slow_strain(one) for one in flow.double().numpy()])
    np.testing.assert_allclose(strain_magnitude(flow), expected, atol=1e-6)


def test_known_motions():
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    zero = torch.zeros_like(x)
    motions = torch.stack(
        [
            torch.stack([zero + 3, zero - 2]),  # translation
            torch.stack([-0.01 * y, 0.01 * x]),  # rotation by a hundredth
            torch.stack([0.1 * x, zero]),  # stretched by a tenth
            torch.stack([0.1 * y, zero]),  # sheared
        ]
    )
    strain = strain_magnitude(motions)
    expected = torch.tensor([0, 0, 0.1, 0.1 / 2**0.5])[:, None, None].expand(4, 8, 8)
    torch.testing.assert_close(strain, expected, atol=1e-6, rtol=0)
