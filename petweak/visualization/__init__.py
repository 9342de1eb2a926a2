"""The figures of a study: charts, photos with masks, and the style that they share.

Their names are here, too: `from petweak import visualization as vis` is all that a notebook needs.
"""

from typing import Any

from petweak import modules_of

NAMES = {
    "charts": """ablation_points annotation_hours breed_points clue_lines cost_bars growth_lines
        label_efficiency_lines learning_curves overview_bars probe_bars round_lines
        threshold_curves""",
    "overlays": "gallery gallery_row overlay show_examples show_masks show_photos",
    "style": "SOURCE_COLOURS SPARE_COLOURS canvas palette show styled",
}
MODULE_OF = {name: module for module, names in NAMES.items() for name in names.split()}
__all__ = list(MODULE_OF)


def __getattr__(name: str) -> Any:
    module = modules_of(__name__)(MODULE_OF.get(name, name))
    return getattr(module, name) if name in MODULE_OF else module
