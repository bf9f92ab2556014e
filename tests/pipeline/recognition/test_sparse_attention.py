import math

import pytest
import torch
from torch import Tensor

from miex.pipeline.recognition.recognizers._sparse_attention import (
    SparseAttentionBlock,
    SparseSelfAttention,
    attention_weights,
    buckets,
    same_bucket,
)


def _slow_tag(vector: Tensor, planes: Tensor) -> str:
    """Section 3.2.2 by hand: one binary digit for each column of `planes`."""
    digits = ""
    for index in range(planes.shape[1]):
        product = sum(float(a) * float(b) for a, b in zip(vector, planes[:, index], strict=True))
        digits += "0" if product > 0 else "1"
    return digits


def _slow_attention(q: Tensor, k: Tensor, v: Tensor, planes: Tensor) -> tuple[Tensor, Tensor]:
    """Eqs. 4 to 6 for one sequence and one head, with loops and lists of keys."""
    length, size = q.shape
    weights = torch.zeros(length, length)
    out = torch.zeros_like(v)
    for i in range(length):
        seen = [
            j
            for j in range(length)
            if any(_slow_tag(q[i], table) == _slow_tag(k[j], table) for table in planes)
        ]
        if not seen:
            continue
        logits = [float(q[i] @ k[j]) / math.sqrt(size) for j in seen]
        total = sum(math.exp(each) for each in logits)
        for j, logit in zip(seen, logits, strict=True):
            weights[i, j] = math.exp(logit) / total
            out[i] += weights[i, j] * v[j]
    return weights, out


def test_bucket_is_the_tag_of_the_paper() -> None:
    torch.manual_seed(0)
    vectors, planes = torch.randn(5, 7, 6), torch.randn(4, 6, 3)
    tags = buckets(vectors, planes)
    assert tags.shape == (5, 4, 7)
    assert set(tags.unique().tolist()) == set(range(8))
    for b in range(5):
        for table in range(4):
            for i in range(7):
                assert tags[b, table, i] == int(_slow_tag(vectors[b, i], planes[table]), 2)


def test_attention_is_that_of_loops() -> None:
    torch.manual_seed(1)
    batch, heads, length, size = 2, 2, 9, 5
    q, k, v = torch.randn(3, batch, heads, length, size)
    planes = torch.randn(heads, 2, size, 3)
    visible = same_bucket(q, k, planes)
    weights = attention_weights(q, k, visible)
    for b in range(batch):
        for h in range(heads):
            expected, out = _slow_attention(q[b, h], k[b, h], v[b, h], planes[h])
            assert torch.allclose(weights[b, h], expected, atol=1e-6)
            assert torch.equal(visible[b, h], expected > 0)
            assert torch.allclose(weights[b, h] @ v[b, h], out, atol=1e-5)
    assert (weights.sum(-1) == 0).any(), "no query without a key: the case is not tried"


def test_layer_is_that_of_loops() -> None:
    torch.manual_seed(2)
    layer = SparseSelfAttention(8, 2, planes=3, tables=2, sparse=True, seed=0).eval()
    x = torch.randn(1, 6, 8)
    y, weights = layer(x)
    parts = []
    for head in range(2):
        columns = slice(4 * head, 4 * head + 4)
        q, k, v = (
            each(x)[0, :, columns].detach() for each in (layer.query, layer.key, layer.value)
        )
        expected, out = _slow_attention(q, k, v, layer.planes[head])
        assert torch.allclose(weights[0, head], expected, atol=1e-6)
        parts.append(out)
    assert torch.allclose(y[0], layer.out(torch.cat(parts, 1)), atol=1e-5)


def test_query_without_key_gives_zero_and_finite_gradients() -> None:
    q = torch.randn(3, 4, requires_grad=True)
    k = torch.randn(3, 4, requires_grad=True)
    visible = torch.tensor([[True, False, True], [False] * 3, [False, True, False]])
    weights = attention_weights(q, k, visible)
    assert weights[1].tolist() == [0, 0, 0]
    assert torch.allclose(weights.sum(-1), torch.tensor([1.0, 0.0, 1.0]))
    (weights * torch.randn(3, 3)).sum().backward()
    for gradient in (q.grad, k.grad):
        assert gradient is not None
        assert gradient.isfinite().all()
    assert q.grad is not None
    assert q.grad[1].abs().max() == 0


def test_full_attention_is_pytorchs() -> None:
    torch.manual_seed(3)
    q, k, v = torch.randn(3, 2, 2, 6, 4)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    assert torch.allclose(attention_weights(q, k, None) @ v, expected, atol=1e-6)


def test_more_tables_show_more_and_more_planes_less() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 64, 32, 16, generator=generator)

    def share(tables: int, planes: int) -> float:
        normals = torch.randn(tables, 16, planes, generator=generator)
        return float(same_bucket(q, k, normals).float().mean())

    # Independent vectors share one of 2^planes buckets by chance.
    assert share(1, 3) == pytest.approx(1 / 8, abs=0.02)
    assert share(4, 3) == pytest.approx(1 - (7 / 8) ** 4, abs=0.04)
    assert share(1, 5) < share(1, 3) < share(2, 3)


def test_planes_are_fixed_in_eval_and_new_in_training() -> None:
    torch.manual_seed(0)
    layer = SparseSelfAttention(16, 2, planes=3, tables=2, sparse=True, seed=5)
    again = SparseSelfAttention(16, 2, planes=3, tables=2, sparse=True, seed=5)
    assert torch.equal(layer.planes, again.planes)
    x = torch.randn(4, 12, 16)
    layer.train()
    assert not torch.equal(layer(x)[1], layer(x)[1])
    layer.eval()
    assert torch.equal(layer(x)[1], layer(x)[1])
    full = SparseSelfAttention(16, 2, planes=3, tables=2, sparse=False, seed=5).train()
    assert torch.equal(full(x)[1], full(x)[1])
    assert (full(x)[1] > 0).all()


def test_block_drops_only_when_told() -> None:
    torch.manual_seed(0)
    layer = SparseSelfAttention(16, 2, planes=3, tables=2, sparse=True, seed=0)
    block = SparseAttentionBlock(layer, 16, 24, 0.5).eval()
    x = torch.randn(2, 6, 16)
    assert torch.equal(block(x, False)[0], block(x, False)[0])
    assert not torch.equal(block(x, True)[0], block(x, True)[0])
    y = block(x, False)[0]
    assert torch.allclose(y.mean(-1), torch.zeros(2, 6), atol=1e-5)
