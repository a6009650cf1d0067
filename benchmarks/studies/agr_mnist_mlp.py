"""AGR on MNIST with a multilayer perceptron, at three learning rates."""

from benchmarks.agr_images import mnist_study
from benchmarks.models import MLP

STUDY = mnist_study("a multilayer perceptron", MLP())
