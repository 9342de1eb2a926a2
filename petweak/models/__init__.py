"""Networks: frozen backbones with their weights, the MaskFormer, its matcher and its losses."""
