"""Networks: frozen backbones with their weights, the MaskFormer, its matcher and its losses."""

from petweak import modules_of

__getattr__ = modules_of(__name__)
