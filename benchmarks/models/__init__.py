"""The networks that the studies train.

Each is called as ``model(inputs, train=False)`` and returns logits.
"""

from benchmarks.models.deep import VGG11, ResNet18, SmallResNet
from benchmarks.models.language import SmallTransformer
from benchmarks.models.small import MLP, ConvNet, LeNet5, SmallCNN, TorchLeNet5

__all__ = [
    "MLP",
    "VGG11",
    "ConvNet",
    "LeNet5",
    "ResNet18",
    "SmallCNN",
    "SmallResNet",
    "SmallTransformer",
    "TorchLeNet5",
]
