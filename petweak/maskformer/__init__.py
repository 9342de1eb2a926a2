"""The simplified MaskFormer: model, matching, loss, training, prediction."""
