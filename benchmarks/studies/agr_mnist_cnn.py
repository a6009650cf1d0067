"""AGR on MNIST with a convolutional network, at three learning rates."""

from benchmarks.agr_images import mnist_study
from benchmarks.models import ConvNet

STUDY = mnist_study("a convolutional network", ConvNet())
