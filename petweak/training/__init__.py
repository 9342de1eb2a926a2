"""Training of MaskFormers on cached features, their predictions, and self-training."""

from petweak import modules_of

__getattr__ = modules_of(__name__)
