"""AGR on MNIST with a multilayer perceptron, at three learning rates."""

from benchmarks.models import MLP
from benchmarks.studies._agr_images import mnist_study

STUDY = mnist_study("a multilayer perceptron", MLP())
