"""Training of MaskFormers on cached features, their predictions, and self-training."""
