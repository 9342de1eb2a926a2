"""petweak: how little labelling does it take to segment pets?

Data flows one way, and every step is a package:

    data -> models -> pseudo_masks -> training -> evaluation -> study
         -> visualization, explorers, experiments, reporting -> the command line

`petweak.study.run.open_run` opens a run, and its methods read as the study does. `petweak.config`
lists every setting, `petweak.pseudo_masks.base` says what a source of pseudo-labels is, and
`petweak.models.maskformer` is the model.
"""

__version__ = "0.2.0"
