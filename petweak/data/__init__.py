"""Photos and trimaps in the layout of Oxford-IIIT Pet, masks, feature maps, and files."""

from petweak import modules_of

__getattr__ = modules_of(__name__)
