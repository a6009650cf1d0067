"""AGR on MNIST with LeNet-5, at three learning rates."""

from benchmarks.models import LeNet5
from benchmarks.studies._agr_images import mnist_study

STUDY = mnist_study("LeNet-5", LeNet5())
