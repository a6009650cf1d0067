"""AGR on MNIST with LeNet-5, at three learning rates."""

from benchmarks.agr_images import mnist_study
from benchmarks.models import LeNet5

STUDY = mnist_study("LeNet-5", LeNet5())
