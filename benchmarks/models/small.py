"""Networks for small grey images, that a CPU trains in seconds."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax

from benchmarks.models.convolution import Conv, avg_pool, max_pool


class MLP(nn.Module):
    """Dense layers with ReLU between them."""

    sizes: Sequence[int] = (256, 128)
    num_classes: int = 10

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns the logits, of shape [batch, num_classes]."""
        features = images.reshape(images.shape[0], -1)
        for size in self.sizes:
            features = nn.relu(nn.Dense(size)(features))
        return nn.Dense(self.num_classes)(features)


class Regressor(nn.Module):
    """Dense layers with ReLU, and a number from the last of them."""

    sizes: Sequence[int]

    def setup(self) -> None:
        """Makes the layers."""
        self.hidden = [nn.Dense(size) for size in self.sizes]
        self.output = nn.Dense(1)

    def __call__(self, inputs: jax.Array, train: bool = False) -> jax.Array:
        """Returns the predictions, of shape [batch]."""
        return self.predict(self.features(inputs, train))

    def features(self, inputs: jax.Array, train: bool = False) -> jax.Array:
        """Returns the last hidden layer, of shape [batch, sizes[-1]]."""
        del train
        features = inputs
        for layer in self.hidden:
            features = nn.relu(layer(features))
        return features

    def predict(self, features: jax.Array) -> jax.Array:
        """Returns what the output layer makes of the last hidden one."""
        return self.output(features)[..., 0]


class SmallCNN(nn.Module):
    """Two 3x3 convolutions with a pooling between, and two dense layers."""

    channels: tuple[int, int] = (16, 32)
    hidden_size: int = 64
    num_classes: int = 10

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns the logits, of shape [batch, num_classes]."""
        features = nn.relu(Conv(self.channels[0], (3, 3))(images))
        features = avg_pool(features)
        features = nn.relu(Conv(self.channels[1], (3, 3))(features))
        features = features.reshape(features.shape[0], -1)
        features = nn.relu(nn.Dense(self.hidden_size)(features))
        return nn.Dense(self.num_classes)(features)


class LeNet5(nn.Module):
    """LeNet-5 (LeCun et al., 1998) with ReLU, max pooling and full maps."""

    num_classes: int = 10

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns the logits, of shape [batch, num_classes]."""
        # SAME stands for the paper's border of 2 around 28x28 images.
        features = self._convolved(images, 6, "SAME")
        features = self._convolved(features, 16, "VALID")
        features = features.reshape(features.shape[0], -1)
        for size in (120, 84):
            features = nn.relu(self._dense(features, size))
        return self._dense(features, self.num_classes)

    def _convolved(
        self, inputs: jax.Array, channels: int, padding: str
    ) -> jax.Array:
        start = self._initializers(25 * inputs.shape[-1])
        convolution = Conv(channels, (5, 5), padding=padding, **start)
        return max_pool(nn.relu(convolution(inputs)))

    def _dense(self, inputs: jax.Array, size: int) -> jax.Array:
        return nn.Dense(size, **self._initializers(inputs.shape[-1]))(inputs)

    def _initializers(self, fan_in: int) -> Mapping[str, Any]:
        """Returns a layer's arguments kernel_init and bias_init, if any."""
        del fan_in
        return {}


class TorchLeNet5(LeNet5):
    """``LeNet5`` that starts as PyTorch's layers do.

    Kernels and biases alike are uniform within 1 / sqrt(fan_in).
    """

    def _initializers(self, fan_in: int) -> Mapping[str, Any]:
        bound = fan_in**-0.5

        def uniform(key: Any, shape: Sequence[int], dtype: Any) -> jax.Array:
            return jax.random.uniform(key, shape, dtype, -bound, bound)

        return {"kernel_init": uniform, "bias_init": uniform}


class ConvNet(nn.Module):
    """Two 3x3 convolutions, each with a max pooling, and two dense layers."""

    num_classes: int = 10

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
        """Returns the logits, of shape [batch, num_classes]."""
        features = images
        for channels in (16, 32):
            features = max_pool(nn.relu(Conv(channels, (3, 3))(features)))
        features = features.reshape(features.shape[0], -1)
        features = nn.relu(nn.Dense(64)(features))
        return nn.Dense(self.num_classes)(features)
