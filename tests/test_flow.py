"""Data flows one way: a module imports only from rooms to its left."""

from __future__ import annotations

import ast
from pathlib import Path

import petweak

PACKAGE = Path(petweak.__file__).parent

# Left to right. A name stands for a module or a folder of modules.
ROOMS = (
    ("allocator", "files"),
    ("config", "weights"),
    ("runs",),
    ("data",),
    ("backbones",),
    ("engines",),
    ("features",),
    ("pseudo_masks",),
    ("maskformer",),
    ("selftrain",),
    ("metrics",),
    ("evaluate",),
    ("stages",),
    ("students",),
    ("cards",),
    ("study",),
    ("results",),
    ("mistakes", "sweeps", "choices", "probes", "labelling", "cost", "trials", "broken",
     "compact_mask_rcnn_train"),
    ("recipes",),
    ("unseen",),
    ("beyond",),
    ("tables", "looks", "pictures", "plots", "plots_beyond"),
    ("explore",),
    ("controls",),
    ("upload",),
    ("widgets",),
    ("chapters",),
    ("report_parts", "report_text", "report_photos", "report_sections"),
    ("report_html", "report_pdf", "report_latex"),
    ("report", "figures"),
    ("notebooks", "execution", "doctor"),
    ("reruns",),
    ("commands",),
    ("cli",),
)
RANK = {name: i for i, room in enumerate(ROOMS) for name in room}


def room_of(module: str) -> str:
    return module.split(".")[1]


def imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("petweak"):
            parts = node.module.split(".")
            yield from (
                [node.module] if len(parts) > 1 else [f"petweak.{a.name}" for a in node.names]
            )
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("petweak."))


def test_every_module_has_its_place():
    here = {p.stem if p.is_file() else p.name for p in PACKAGE.iterdir()}
    here -= {"__init__", "__pycache__", "templates"}
    assert here == set(RANK)


def test_no_import_runs_against_the_flow():
    against = []
    for path in PACKAGE.rglob("*.py"):
        room = room_of(".".join(("petweak", *path.relative_to(PACKAGE).with_suffix("").parts)))
        if room == "__init__":
            continue
        for module in imports(path):
            if room_of(module) in RANK and RANK[room_of(module)] > RANK[room]:
                against.append(f"{path.relative_to(PACKAGE)} imports {module}")
    assert not against


def test_metrics_stand_alone():
    assert not list(imports(PACKAGE / "metrics.py"))


def test_weights_are_read_without_pickle():
    """Every torch.load says weights_only=True; nothing imports pickle or joblib."""
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert not {a.name for a in node.names} & {"pickle", "joblib", "dill"}, path
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "torch.load",
                "torch.hub.load_state_dict_from_url",
            ):
                words = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert words.get("weights_only") == "True", f"{path}:{node.lineno}"
