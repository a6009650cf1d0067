"""AGR on CIFAR-10 with VGG11, for an accelerator."""

from benchmarks.agr_images import cifar_study
from benchmarks.models import VGG11

STUDY = cifar_study("VGG11", VGG11, 10)
