"""Train a network of your own on a synthesized dataset: a plain PyTorch loop."""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

import miex

if __name__ == "__main__":
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples/own-network")
    miex.synthesize(out, identities=6, samples=54, seed=2)
    dataset = miex.load_dataset(out, columns=["frames", "label"])

    torch.manual_seed(0)
    network = nn.Sequential(
        nn.AvgPool2d(4), nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)
    )
    network(torch.zeros(1, 3, 128, 128))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for epoch in range(3):
        losses = []
        for batch in DataLoader(dataset, batch_size=9, shuffle=True):
            onset, apex = batch["frames"].float().unbind(1)  # each (N, 3, S, S)
            loss = nn.functional.cross_entropy(network((apex - onset) / 25), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.3f}")
