"""AGR on MNIST with a convolutional network, at three learning rates."""

from benchmarks.models import ConvNet
from benchmarks.studies._agr_images import mnist_study

STUDY = mnist_study("a convolutional network", ConvNet())
