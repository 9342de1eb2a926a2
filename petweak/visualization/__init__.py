"""The figures of a study: charts, photos with masks, and the style that they share.

Their names are here, too: `from petweak import visualization as vis` is all that a notebook needs.
"""

from petweak.visualization.charts import (
    ablation_points,
    annotation_hours,
    breed_points,
    clue_lines,
    cost_bars,
    growth_lines,
    label_efficiency_lines,
    learning_curves,
    overview_bars,
    probe_bars,
    round_lines,
    threshold_curves,
)
from petweak.visualization.overlays import (
    gallery,
    gallery_row,
    overlay,
    show_examples,
    show_masks,
    show_photos,
)
from petweak.visualization.style import SOURCE_COLOURS, SPARE_COLOURS, canvas, palette, show, styled

__all__ = ["SOURCE_COLOURS", "SPARE_COLOURS", "ablation_points", "annotation_hours", "breed_points",
           "canvas", "clue_lines", "cost_bars", "gallery", "gallery_row", "growth_lines",
           "label_efficiency_lines", "learning_curves", "overlay", "overview_bars", "palette",
           "probe_bars", "round_lines", "show", "show_examples", "show_masks", "show_photos",
           "styled", "threshold_curves"]
