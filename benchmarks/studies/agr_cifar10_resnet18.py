"""AGR on CIFAR-10 with ResNet-18, for an accelerator."""

from benchmarks.models import ResNet18
from benchmarks.studies._agr_images import cifar_study

STUDY = cifar_study("ResNet-18", ResNet18, 10)
