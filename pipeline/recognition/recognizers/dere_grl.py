"""DeRe-GRL: decompose facial motion into actions, and reconstruct the expression from them.

Wei et al., Prior Information based Decomposition and Reconstruction Learning for Micro-Expression
Recognition, IEICE Trans. Inf. & Syst. E106-D(10), 2023. Equation numbers are the paper's. The
available copy lacks the formulas, and no code was found, so that this is decided here:

- GC is Kipf and Welling's graph convolution (ICLR 2017) with the normalised adjacency
  D^-1/2 (A + I) D^-1/2; TC is a convolution over three frames. In the backbone batch
  normalisation and ReLU follow each of them. "The temporal dimension is fixed to 3, so below" it
  is not written: the features of a node are those of its three frames together, 3 d.
- Equations 1 and 4: GC, ReLU, and a TC that takes the three frames into one.
- Equation 2, "the probability combination of original features": softmax over the nodes.
- Equation 4: the actions are one complete graph, on which Kipf's normalisation would give all of
  them the same weight; each takes half of itself and half of the mean of all.
- Equation 5: L2 norm, no softmax after it. Equation 6: each action feature is multiplied by its
  weight; they are classified side by side, as they also are without reconstruction.
- Equations 7 to 9 are those of Ruan et al., Feature Decomposition and Reconstruction Learning for
  Effective Facial Expression Recognition, CVPR 2021, which the paper cites for 7 and 9, but for a
  mean in the place of a sum in equation 7 (see `mean_centre_loss`).
"""

from dataclasses import dataclass

import torch
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn
from torch.nn import functional

from miex.pipeline.recognition.recognizers.base import (
    Hyperparameters,
    Recognizer,
    RecognizerConfig,
    ToySize,
    batch_accuracy,
    register_recognizer,
)
from miex.pipeline.recognition.representations.base import Inputs
from miex.pipeline.recognition.representations.landmark_graph import (
    COMPONENTS,
    KEY_FRAMES,
    LandmarkGraph,
    LandmarkGraphConfig,
    adjacency,
)
from miex.pipeline.recognition.sample import ClipFrames

_CENTRE_RATE = 0.5
"""alpha of the centres' update (Wen et al., A Discriminative Feature Learning Approach for Deep
Face Recognition, ECCV 2016, section 4.1)."""

_FRAMES = len(KEY_FRAMES)


class DereGrlConfig(RecognizerConfig):
    """DeRe-GRL as in the paper; the switches are the rows of its tables 1 and 2."""

    graph: LandmarkGraphConfig = LandmarkGraphConfig()
    channels: int = Field(16, ge=1, description="node features of the backbone; 8 on SAMM")
    actions: int = Field(3, ge=1, le=8, description="K, action features of a facial component")
    decomposition: bool = Field(True, description="ADM; without it the backbone alone (table 1)")
    reconstruction: bool = Field(True, description="RRM (table 1)")
    mean_centre: float = Field(1.0, ge=0, description="lambda of eq. 7; 0 removes it (table 2)")
    weight_centre: float = Field(1.0, ge=0, description="lambda of eq. 8; 0 removes it")
    balance: float = Field(0.1, ge=0, description="lambda of eq. 9; 0 removes it")
    shape_jitter: float = Field(
        0.012,
        ge=0,
        description="training: deviation of a landmark that all frames share, in distances of the "
        "eye centres; dlib's between crops of 96 to 320 pixels of two videos",
    )
    motion_jitter: float = Field(
        0.004,
        ge=0,
        description="training: deviation of a landmark in each frame, before magnification; 0.014 "
        "between the same crops, half of a micro-expression, where every frame is detected anew",
    )
    # The paper states neither optimizer nor length: reference values of this project.
    training: Hyperparameters = Hyperparameters(
        learning_rate=1e-3, weight_decay=1e-4, batch_size=32, epochs=200
    )

    @model_validator(mode="after")
    def _fits(self) -> "DereGrlConfig":
        if self.reconstruction and not self.decomposition:
            raise ValueError(
                "reconstruction weighs the actions of the decomposition: set reconstruction to "
                "false as well, or decomposition to true"
            )
        return self


@dataclass(frozen=True, slots=True)
class Decomposition:
    """Decomposition of samples.

    Attributes:
        features: ``(B, A, 3 d)``, the action features F of eq. 3; A = 3 K: those of brows, nose,
            mouth. Without decomposition the 31 nodes themselves.
        maps: For each component the share of each of its nodes in its actions, ``(B, nodes, K)``,
            eq. 2; empty without decomposition.
        weights: ``(B, A)``, the weights of eq. 5; None without reconstruction.
    """

    features: Tensor
    maps: tuple[Tensor, ...]
    weights: Tensor | None


def normalised_adjacency(joined: Tensor) -> Tensor:
    """Return D^-1/2 (A + I) D^-1/2 (Kipf and Welling, ICLR 2017, section 2).

    Args:
        joined: ``(N, N)``, symmetric, 1 for connected nodes.
    """
    linked = joined + torch.eye(len(joined))
    scale = linked.sum(1).rsqrt()
    return scale[:, None] * linked * scale


def mean_centre_loss(features: Tensor) -> Tensor:
    """Return eq. 7: 1/N sum_n mean_i |F_n,i - batch mean of F_i|^2, with a mean over coordinates.

    Ruan et al. sum over both and weight the sum by 1e-4. With the weight 1 of this paper the sum
    (432 times this mean) prevents classification: on three classes of drawn faces the accuracy
    stays at chance, and with the mean it is 1.

    Args:
        features: ``(N, A, D)``.
    """
    return (features - features.mean(0)).square().mean()


def weight_centre_loss(weights: Tensor, labels: Tensor, centres: Tensor) -> Tensor:
    """Return eq. 8: 1/N sum_n |w_n - centre of its class|^2.

    Args:
        weights: ``(N, A)``.
        labels: ``int64 (N,)``.
        centres: ``(classes, A)``.
    """
    return (weights - centres[labels]).square().sum(1).mean()


def balance_loss(weights: Tensor) -> Tensor:
    """Return eq. 9: |batch mean of w - (1/A, ..., 1/A)|_1, of ``(N, A)``."""
    return (weights.mean(0) - 1 / weights.shape[1]).abs().sum()


def moved_centres(centres: Tensor, weights: Tensor, labels: Tensor) -> Tensor:
    """Return the centres after a batch.

    New centre: c_j - alpha sum_n [y_n = j] (c_j - w_n) / (1 + sum_n [y_n = j]). Wen et al. 2016,
    equation 4; the centres of classes that are not in the batch do not change.

    Args:
        centres: ``(classes, A)``.
        weights: ``(N, A)``.
        labels: ``int64 (N,)``.
    """
    member = functional.one_hot(labels, len(centres)).to(centres.dtype)
    count = member.sum(0)[:, None]
    # No matrix product, which autocast would round.
    total = (member[..., None] * weights[:, None]).sum(0)
    difference = count * centres - total
    return centres - _CENTRE_RATE * difference / (1 + count)


class SpatialConvolution(nn.Module):
    """GC: a linear map of the features of each node, then a mean over neighbouring nodes.

    Args:
        channels: Number of input features.
        out: Number of output features.
        mixing: ``(N, N)``, weight of each node (column) in each node (row).
    """

    mixing: Tensor

    def __init__(self, channels: int, out: int, mixing: Tensor) -> None:
        super().__init__()
        self.linear = nn.Conv2d(channels, out, 1)
        self.register_buffer("mixing", mixing, persistent=False)

    def forward(self, nodes: Tensor) -> Tensor:
        """Map ``(B, channels, T, N)`` to ``(B, out, T, N)``."""
        mixed: Tensor = self.linear(nodes) @ self.mixing.T
        return mixed


class BackboneLayer(nn.Module):
    """Layer of the backbone: GC over the graph, TC over the three frames."""

    def __init__(self, channels: int, out: int, mixing: Tensor) -> None:
        super().__init__()
        self.spatial = SpatialConvolution(channels, out, mixing)
        self.temporal = nn.Conv2d(out, out, (3, 1), padding=(1, 0))
        self.norms = nn.ModuleList([nn.BatchNorm2d(out), nn.BatchNorm2d(out)])

    def forward(self, nodes: Tensor) -> Tensor:
        """Map ``(B, channels, 3, 31)`` to ``(B, out, 3, 31)``."""
        nodes = functional.relu(self.norms[0](self.spatial(nodes)))
        return functional.relu(self.norms[1](self.temporal(nodes)))


def _fold_time(channels: int, hidden: int, out: int, mixing: Tensor) -> nn.Sequential:
    """Create GC and a TC over three frames, ``(B, channels, 3, N)`` to ``(B, out, 1, N)``."""
    return nn.Sequential(
        SpatialConvolution(channels, hidden, mixing),
        nn.ReLU(),
        nn.Conv2d(hidden, out, (_FRAMES, 1)),
    )


@register_recognizer("dere_grl")
class DereGrl(Recognizer):
    """DeRe-GRL on `LandmarkGraph`; see the module."""

    name = "dere_grl"
    title = "DeRe-GRL"
    paper = (
        "Wei et al., Prior Information based Decomposition and Reconstruction Learning for "
        "Micro-Expression Recognition (DeRe-GRL), IEICE Transactions on Information and Systems "
        "E106-D(10), 2023"
    )
    citation = "Wei et al., IEICE Trans. 2023"
    year = 2023
    looks_at = "graph of 31 landmarks in three key frames, motion magnified; landmarks"
    toy = ToySize(training={"epochs": 40, "learning_rate": 1e-2, "batch_size": 20})
    Config = DereGrlConfig
    clip_frames = ClipFrames("to_offset", most=3)
    class_layers = ("classifier.", "weight_centres")
    config: DereGrlConfig
    weight_centres: Tensor

    def __init__(self, config: DereGrlConfig, classes: int) -> None:
        super().__init__(config, classes)
        width, actions = config.channels, config.actions
        joined = adjacency()
        graph = normalised_adjacency(joined)
        # Nodes are up to 2 eye distances from the nose and move by tenths of one: each coordinate
        # of each is standardised, otherwise the shape of the face would dominate the motion.
        self.standardise = nn.BatchNorm1d(2 * len(joined))
        self.backbone = nn.Sequential(
            BackboneLayer(2, width, graph), BackboneLayer(width, width, graph)
        )
        rows = len(joined)
        if config.decomposition:
            rows = actions * len(COMPONENTS)
            self.decompose = nn.ModuleDict(
                {
                    name: _fold_time(
                        width, width, actions, normalised_adjacency(joined[part, part])
                    )
                    for name, part in COMPONENTS.items()
                }
            )
        if config.reconstruction:
            mixing = (torch.eye(rows) + torch.full((rows, rows), 1 / rows)) / 2
            self.relate = _fold_time(width, width, width, mixing)
            self.register_buffer("weight_centres", torch.zeros(classes, rows))
        self.classifier = nn.Linear(rows * width * _FRAMES, classes)

    @property
    def representation(self) -> LandmarkGraph:
        """See `Recognizer.representation`."""
        return LandmarkGraph(self.config.graph)

    @property
    def action_names(self) -> list[str]:
        """Names of the action features: ``brows 1``, ..., ``mouth 3``."""
        numbers = range(1, self.config.actions + 1)
        return [f"{component} {number}" for component in COMPONENTS for number in numbers]

    def augment(self, inputs: Inputs, generator: Generator) -> Inputs:
        """Jitter the landmarks.

        "Because the cropped face images with different sizes have different landmarks, we regard
        this difference as noise to augmented data" (section 3).

        With e what all frames of a sample share and e_t what each has to itself, the landmarks
        p_t + e + e_t are magnified as `magnified_nodes` does: node_0 + e + e_0 in the onset, and
        node_t + e + e_0 + (1 + alpha) (e_t - e_0) after it.
        """
        nodes = inputs["nodes"]
        drawn = torch.randn((len(nodes), 2, 1 + _FRAMES, nodes.shape[-1]), generator=generator)
        drawn = drawn.to(nodes.device, nodes.dtype)
        shared = drawn[:, :, :1] * self.config.shape_jitter
        own = drawn[:, :, 1:] * self.config.motion_jitter
        motion = (1 + self.config.graph.amplification) * (own - own[:, :, :1])
        return {"nodes": nodes + shared + own[:, :, :1] + motion}

    def decomposition(self, inputs: Inputs) -> Decomposition:
        """Return the decomposition of samples: actions, their places and weights."""
        nodes = self.backbone(self._standardised(inputs["nodes"]))
        if not self.config.decomposition:
            return Decomposition(nodes.permute(0, 3, 2, 1).flatten(2), (), None)
        maps, actions = [], []
        for name, part in COMPONENTS.items():
            component = nodes[..., part]
            # Eqs. 1 to 3. n batch, f feature, t frame, v node, k action.
            share = self.decompose[name](component).squeeze(2).float().softmax(-1)
            maps.append(share.transpose(1, 2))
            actions.append(torch.einsum("nftv,nkv->nftk", component, share.to(component.dtype)))
        graph = torch.cat(actions, -1)
        weights = None
        if self.config.reconstruction:
            weights = torch.linalg.vector_norm(self.relate(graph).squeeze(2).float(), dim=1)
        return Decomposition(graph.permute(0, 3, 2, 1).flatten(2), tuple(maps), weights)

    def action_weights(self, inputs: Inputs) -> Tensor:
        """Return the weight of each action in each sample (eq. 5), in the order of `action_names`.

        Returns:
            ``float32 (B, A)``, 0 or more.

        Raises:
            ValueError: The network was built without reconstruction.
        """
        weights = self.decomposition(inputs).weights
        if weights is None:
            raise ValueError("dere_grl without reconstruction gives actions no weights")
        return weights

    def forward(self, inputs: Inputs) -> Tensor:
        """See `Recognizer.forward`."""
        return self._classify(self.decomposition(inputs))

    def loss(self, inputs: Inputs, labels: Tensor) -> dict[str, Tensor]:
        """Compute eq. 10: cross entropy and the three constraints; updates the centres of eq. 8.

        An ablation also leaves out the constraints of the omitted modules.
        """
        found = self.decomposition(inputs)
        logits = self._classify(found)
        terms = {
            "cross_entropy": functional.cross_entropy(logits, labels),
            "accuracy": batch_accuracy(logits, labels),
        }
        loss = terms["cross_entropy"]
        if self.config.decomposition:
            terms["mean_centre"] = mean_centre_loss(found.features.float())
            loss = loss + self.config.mean_centre * terms["mean_centre"]
        if found.weights is not None:
            centres = self.weight_centres
            terms["weight_centre"] = weight_centre_loss(found.weights, labels, centres)
            terms["balance"] = balance_loss(found.weights)
            loss = loss + self.config.weight_centre * terms["weight_centre"]
            loss = loss + self.config.balance * terms["balance"]
            if self.training:
                centres.copy_(moved_centres(centres, found.weights.detach(), labels))
        return {"loss": loss, **terms}

    def _standardised(self, nodes: Tensor) -> Tensor:
        """Standardise over samples and frames, so that a batch of one has a deviation."""
        flat = nodes.transpose(2, 3)
        scaled: Tensor = self.standardise(flat.flatten(1, 2))
        return scaled.view_as(flat).transpose(2, 3)

    def _classify(self, found: Decomposition) -> Tensor:
        features = found.features
        if found.weights is not None:
            features = features * found.weights[..., None]  # eq. 6
        logits: Tensor = self.classifier(features.flatten(1))
        return logits
