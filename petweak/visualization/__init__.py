"""The figures of a study: charts, photos with masks, and the style that they share."""
