"""A small vision transformer on 8x8 digits: attention, layer norm and softmax under certification.

    python examples/vision_transformer.py [--small]

Four patches, one block of attention and one of ReLU. The script prints every verdict with its reason, whatever it is:
CERTIFIED only if the independent checker followed the proof through softmax and the products of attention.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import unmoved
from unmoved.train import GaussianNoise, Plan, fit


class VisionTransformer(nn.Module):
    """Patches of 4x4 pixels -> `width` features each -> attention -> a layer of ReLUs -> the mean patch's scores."""

    def __init__(self, width: int = 8, classes: int = 10) -> None:
        super().__init__()
        self.width = width
        self.patches = nn.Conv2d(1, width, 4, 4)
        self.place = nn.Parameter(0.1 * torch.randn(1, 4, width))
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.hidden, self.back = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.scores = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (n, classes) of images (n, 1, 8, 8)."""
        z = self.patches(x).flatten(2).transpose(1, 2) + self.place
        attention = torch.softmax(self.query(z) @ self.key(z).transpose(1, 2) / self.width**0.5, -1)
        z = z + self.out(attention @ self.value(z))
        z = z + self.back(torch.relu(self.hidden(z)))
        return self.scores(z.mean(1))


def main(small: bool = False) -> dict[str, object]:
    """Return clean accuracy, and how many inputs ended in each verdict; the reasons too."""
    data = load_digits()
    images, labels = (data.images[:, None] / 16).astype(np.float32), data.target
    torch.manual_seed(0)
    module = VisionTransformer()
    fit(module, images[:1400], labels[:1400], GaussianNoise(0.1), Plan(epochs=8 if small else 40, lr=5e-3))
    count = 3 if small else 20
    x, y = images[1400 : 1400 + count], labels[1400 : 1400 + count]
    with torch.no_grad():
        right = float((module(torch.from_numpy(images[1400:])).argmax(1).numpy() == labels[1400:]).mean())
    model = unmoved.load_torch(module, (1, 1, 8, 8))
    threat = unmoved.Linf("1/1000" if small else "1/500", clip=(0, 1))
    problems = [
        unmoved.Problem(model, a.reshape(model.input_shape), threat, unmoved.SameClass(int(b)))
        for a, b in zip(x, y, strict=True)
    ]
    found = unmoved.certify_all(problems, unmoved.LinearMethod())
    verdicts = [str(each.verdict) for each in found]
    reasons = sorted({str(each.reason) for each in found if each.reason is not None})
    return {"clean": right, **{word: verdicts.count(word) for word in sorted(set(verdicts))}, "reasons": reasons}


if __name__ == "__main__":
    for name, value in main("--small" in sys.argv).items():
        print(f"{name}: {value}")
