"""Masks and species from an ImageNet classifier alone: no annotation of the target data."""

from petweak.config import Settings
from petweak.pseudo_masks import cam
from petweak.pseudo_masks.gradcam import GradCAMPretrained
from petweak.pseudo_masks.selection import sample_of_train


class ImageNetOnly(GradCAMPretrained):
    """`gradcam_pretrained` for the log-odds of all cats and dogs, refined, then self-trained. The
    species, too, is predicted by ImageNet's classes, so its models know species only."""
    labels, self_trained, version = ("species",), True, 2
    target = "pets"  # whatever the setting says

    @classmethod
    def refinement(cls, settings: Settings) -> tuple[str, ...]:
        return settings.refinement.refinement or ("auto",)

    def choice_ids(self) -> list[str]:
        """Not val, which is drawn breed by breed and so depends on labels."""
        return sample_of_train(self)

    def image_labels(self) -> dict[str, dict[str, int]]:
        """0 cat, 1 dog, of every photo: the more likely one, summed over ImageNet's breeds and
        averaged over the photo and its mirror image."""
        features, species = self.context.features, {}
        for ids in (features.ids[k : k + 1024] for k in range(0, len(features.ids), 1024)):
            logits = self.head(features.pooled(list(ids)))  # (B, 2, 1000)
            cat, dog = (logits[..., list(p)].logsumexp(-1).mean(1) for p in (cam.CATS, cam.DOGS))
            species |= {i: {"species": int(d)} for i, d in zip(ids, dog > cat, strict=True)}
        return species
