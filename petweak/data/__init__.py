"""Photos and trimaps in Oxford-IIIT Pet's own layout: read, rendered, or fetched."""
