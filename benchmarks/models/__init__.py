"""The networks that the studies train.

Each is called as ``model(inputs, train=False)`` and returns logits, but for the
regressor, which returns numbers.
"""

from typing import Any

import flax.linen as nn

from benchmarks.models.deep import VGG11, ResNet18, ResNet50, SmallResNet
from benchmarks.models.diffusion import Diffusion
from benchmarks.models.language import SmallAlbert, SmallTransformer
from benchmarks.models.mobile import SmallConvNeXt, SmallTinyViT
from benchmarks.models.pixels import (
    BoxNet,
    ConvAutoencoder,
    DenseAutoencoder,
    TwoHeadedLeNet5,
    UNet,
)
from benchmarks.models.small import (
    MLP,
    ConvNet,
    LeNet5,
    Regressor,
    SmallCNN,
    TorchLeNet5,
)


def described(model: nn.Module) -> str:
    """Returns a model's name and fields, such as ``MLP(sizes=(64,))``."""
    fields: dict[str, Any] = {
        name: getattr(model, name)
        for name in model.__dataclass_fields__
        if name not in ("parent", "name")
    }
    inner = ", ".join(f"{name}={value!r}" for name, value in fields.items())
    return f"{type(model).__name__}({inner})"


__all__ = [
    "MLP",
    "VGG11",
    "BoxNet",
    "ConvAutoencoder",
    "ConvNet",
    "DenseAutoencoder",
    "Diffusion",
    "LeNet5",
    "Regressor",
    "ResNet18",
    "ResNet50",
    "SmallAlbert",
    "SmallCNN",
    "SmallConvNeXt",
    "SmallResNet",
    "SmallTinyViT",
    "SmallTransformer",
    "TorchLeNet5",
    "TwoHeadedLeNet5",
    "UNet",
    "described",
]
