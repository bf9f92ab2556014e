"""Self-attention in which a query attends only to the keys of its hash bucket.

Part of UAMRN (Wei et al., Entropy 24(9):1271, 2022, sec. 3.2). Random hyper-planes divide the space
of queries and keys into buckets; similar vectors are probably in the same one. Outliers, such as a
frame with magnification artefacts, are not attended to.

The paper counts operations of an attention that is computed per bucket. With 32 frames the whole
matrix is smaller than lists of buckets, so that it is computed and masked here.
"""

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional


def buckets(vectors: Tensor, planes: Tensor) -> Tensor:
    """Return the hash of vectors: their side of every hyper-plane.

    Args:
        vectors: ``(..., L, D)``.
        planes: Normals of the hyper-planes through the origin, ``(..., tables, D, planes)``.

    Returns:
        ``int64 (..., tables, L)``, 0 to 2^planes - 1. The bit of a plane is 0 where the product is
        positive and 1 elsewhere (sec. 3.2.2); the first plane is the most significant bit.
    """
    # (..., 1, L, D) @ (..., tables, D, planes) -> (..., tables, L, planes)
    tags = (vectors.unsqueeze(-3) @ planes <= 0).long()
    places = 2 ** torch.arange(planes.shape[-1] - 1, -1, -1, device=tags.device)
    return (tags * places).sum(-1)


def same_bucket(queries: Tensor, keys: Tensor, planes: Tensor) -> Tensor:
    """Return which query may attend to which key (eqs. 4, 5): those with a common bucket.

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
    """Return softmax(q k^T / sqrt(d_k)) over the visible keys (eq. 6), or over all (eq. 3).

    Args:
        queries: ``(..., L, D)``.
        keys: ``(..., L, D)``.
        visible: ``bool (..., L, L)``; None for all.

    Returns:
        ``(..., L, L)``; rows sum to 1, or are 0 for a query without a key.
    """
    logits = queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])
    if visible is None:
        return logits.softmax(-1)
    # Not -inf, since a row of only -inf and its gradient would be NaN.
    hidden = logits.masked_fill(~visible, torch.finfo(logits.dtype).min)
    return hidden.softmax(-1) * visible


class SparseSelfAttention(nn.Module):
    """Self-attention with several heads and locality-sensitive hashing.

    Args:
        size: Dimension of the model, d_model.
        heads: Number of heads, n_h.
        planes: Number of hyper-planes of a table, n_p: 2^n_p buckets.
        tables: Number of tables, n_t.
        sparse: Whether keys are selected by hashing; False is the full attention of eq. 3.
        seed: Seed of the hyper-planes in eval mode. In training new ones are drawn in every call,
            so that training does not depend on their position.
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
        """Apply the attention.

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

    The paper describes only the attention; the rest is the encoder layer of Vaswani et al. (NeurIPS
    2017), the source of its eq. 3.

    Args:
        attention: The attention.
        size: Dimension of the model.
        hidden: Units of the first dense layer.
        dropout: Probability of dropout.
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
        """Transform a sequence.

        Args:
            x: ``(B, L, size)``.
            drop: Whether dropout is active; Monte-Carlo dropout uses it outside training.

        Returns:
            ``(B, L, size)``, and the attention ``(B, heads, L, L)``.
        """
        attended, weights = self.attention(x)
        x = self.first_norm(x + functional.dropout(attended, self.dropout, drop))
        dense = functional.dropout(self.dense(x), self.dropout, drop)
        return self.second_norm(x + dense), weights
