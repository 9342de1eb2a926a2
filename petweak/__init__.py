"""petweak: how little labelling does it take to segment pets?

Data flows one way, and every step of it is a room of its own:

    data -> backbones, features -> pseudo_masks -> maskformer, selftrain -> metrics, evaluate
         -> study, results -> tables, report

`petweak.study.open_run` opens a run, from which everything else is asked; the notebooks and the
command line (`petweak.cli`) do nothing else. `petweak.config` lists every setting,
`petweak.pseudo_masks.base` says what a source of masks is.
"""

from petweak.allocator import keep_memory

__version__ = "0.1.0"

keep_memory()
