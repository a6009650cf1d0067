"""The networks that the studies train.

Each is called as ``model(inputs, train=False)`` and returns logits, but for the
regressor, which returns numbers.
"""

from benchmarks.models.deep import VGG11, ResNet18, SmallResNet
from benchmarks.models.language import SmallTransformer
from benchmarks.models.small import (
    MLP,
    ConvNet,
    LeNet5,
    Regressor,
    SmallCNN,
    TorchLeNet5,
)

__all__ = [
    "MLP",
    "VGG11",
    "ConvNet",
    "LeNet5",
    "Regressor",
    "ResNet18",
    "SmallCNN",
    "SmallResNet",
    "SmallTransformer",
    "TorchLeNet5",
]
