"""Self-attention in which a query sees only the keys of its own hash bucket.

Of UAMRN (Wei et al., Entropy 24(9):1271, 2022, sec. 3.2). Random hyper-planes cut the space of
queries and keys into buckets; vectors that point alike probably fall into the same one. What fits
to nothing, such as a frame that magnification tore apart, is left alone.

The paper counts operations of an attention that is computed bucket by bucket. With 32 frames the
whole matrix is smaller than the lists of buckets would be, so it is computed and masked here.
"""

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional


def buckets(vectors: Tensor, planes: Tensor) -> Tensor:
    """Hashes vectors: on which side of every hyper-plane they lie.

    Args:
        vectors: ``(..., L, D)``.
        planes: Normals of the hyper-planes through the origin, ``(..., tables, D, planes)``.

    Returns:
        ``int64 (..., tables, L)``, 0 to 2^planes - 1. The tag of a plane is 0 where the product is
        positive and 1 elsewhere (sec. 3.2.2), the first plane has the highest place.
    """
    # (..., 1, L, D) @ (..., tables, D, planes) -> (..., tables, L, planes)
    tags = (vectors.unsqueeze(-3) @ planes <= 0).long()
    places = 2 ** torch.arange(planes.shape[-1] - 1, -1, -1, device=tags.device)
    return (tags * places).sum(-1)


def same_bucket(queries: Tensor, keys: Tensor, planes: Tensor) -> Tensor:
    """Which query may look at which key (eqs. 4 and 5): those that share a bucket in any table.

    Args:
        queries: ``(..., L, D)``.
        keys: ``(..., L, D)``.
        planes: ``(..., tables, D, planes)``.

    Returns:
        ``bool (..., L, L)``, queries by keys.
    """
    of_queries, of_keys = buckets(queries, planes), buckets(keys, planes)
    return (of_queries.unsqueeze(-1) == of_keys.unsqueeze(-2)).any(-3)


def attention_weights(queries: Tensor, keys: Tensor, visible: Tensor | None) -> Tensor:
    """Softmax(q k^T / sqrt(d_k)) over the visible keys (eq. 6), or over all of them (eq. 3).

    Args:
        queries: ``(..., L, D)``.
        keys: ``(..., L, D)``.
        visible: ``bool (..., L, L)``; None for all.

    Returns:
        ``(..., L, L)``; rows add up to one, and are zero for a query without a key.
    """
    logits = queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])
    if visible is None:
        return logits.softmax(-1)
    # Not -inf: a row of nothing else would be NaN, and so would be its gradient.
    hidden = logits.masked_fill(~visible, torch.finfo(logits.dtype).min)
    return hidden.softmax(-1) * visible


class SparseSelfAttention(nn.Module):
    """Self-attention with several heads and locality-sensitive hashing.

    Args:
        size: Dimension of the model, d_model.
        heads: Number of heads, n_h.
        planes: Number of hyper-planes of a table, n_p: 2^n_p buckets.
        tables: Number of tables, n_t.
        sparse: Whether to hash at all; False is the full attention of eq. 3.
        seed: Of the hyper-planes in eval mode. In training new ones are drawn in every call, so
            that nothing is learnt that hangs on where they lie.
    """

    planes: Tensor

    def __init__(
        self, size: int, heads: int, *, planes: int, tables: int, sparse: bool, seed: int
    ) -> None:
        super().__init__()
        self.heads, self.sparse = heads, sparse
        self.query, self.key, self.value, self.out = (nn.Linear(size, size) for _ in range(4))
        normals = torch.randn(
            heads, tables, size // heads, planes, generator=Generator().manual_seed(seed)
        )
        self.register_buffer("planes", normals)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attends.

        Args:
            x: ``(B, L, size)``.

        Returns:
            ``(B, L, size)``, and the weights ``(B, heads, L, L)``, queries by keys.
        """
        queries, keys, values = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        visible = self._visible(queries, keys) if self.sparse else None
        weights = attention_weights(queries, keys, visible)
        # (B, heads, L, L) @ (B, heads, L, D) -> (B, L, heads * D)
        mixed = (weights.to(values) @ values).transpose(1, 2).flatten(2)
        y: Tensor = self.out(mixed)
        return y, weights

    @torch.no_grad()
    def _visible(self, queries: Tensor, keys: Tensor) -> Tensor:
        planes = torch.randn_like(self.planes) if self.training else self.planes
        return same_bucket(queries, keys, planes.to(queries))


class SparseAttentionBlock(nn.Module):
    """Attention and two dense layers, each with dropout, a shortcut and layer normalisation.

    The paper names the attention only; the rest is the encoder layer of Vaswani et al. (NeurIPS
    2017), which it takes its eq. 3 from.

    Args:
        attention: First part.
        size: Dimension of the model.
        hidden: Of the first dense layer.
        dropout: Probability.
    """

    def __init__(
        self, attention: SparseSelfAttention, size: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.attention = attention
        self.dense = nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, size))
        self.first_norm, self.second_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.dropout = dropout

    def forward(self, x: Tensor, drop: bool) -> tuple[Tensor, Tensor]:
        """Transforms a sequence.

        Args:
            x: ``(B, L, size)``.
            drop: Whether dropout is on; Monte-Carlo dropout keeps it on outside of training.

        Returns:
            ``(B, L, size)``, and the attention ``(B, heads, L, L)``.
        """
        attended, weights = self.attention(x)
        x = self.first_norm(x + functional.dropout(attended, self.dropout, drop))
        dense = functional.dropout(self.dense(x), self.dropout, drop)
        return self.second_norm(x + dense), weights
