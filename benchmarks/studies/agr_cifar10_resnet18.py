"""AGR on CIFAR-10 with ResNet-18, for an accelerator."""

from benchmarks.agr_images import cifar_study
from benchmarks.models import ResNet18

STUDY = cifar_study("ResNet-18", ResNet18, 10)
