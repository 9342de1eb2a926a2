"""Photos and trimaps in the layout of Oxford-IIIT Pet, masks, feature maps, and files."""
