"""The edition of the series for a class: without outputs, answers, takeaways and solutions.
`python -m petweak.reporting.student DIR` writes it."""

import argparse
import ast
import re
import shutil
from pathlib import Path

import nbformat
from nbconvert.preprocessors import ClearOutputPreprocessor

from petweak.data.files import shipped
from petweak.reporting.notebooks import series


class Unanswered(ClearOutputPreprocessor):
    """Answers and takeaways go, for a place to write, and prose with the tag `answer`. Cells still
    run: of code, only the text of an answer goes, and a cell that is nothing else."""

    def preprocess(self, nb: nbformat.NotebookNode, resources: dict) -> tuple:
        for i, cell in enumerate(nb.cells):
            code = cell.cell_type == "code"
            cell.source = self.code(cell.source) if code else self.prose(cell.source)
            if code and "## Takeaways" in nb.cells[i - 1].source:
                cell.source = ""  # no later cell reads what it computes for its words
            cell.metadata.pop("slideshow", None)
        nb.cells = [c for c in nb.cells if c.source and "answer" not in c.metadata.get("tags", [])]
        return super().preprocess(nb, resources)

    @staticmethod
    def code(source: str) -> str:
        while "**Answer" in ast.unparse(tree := ast.parse(source)):
            if len(tree.body) == 1:
                return ""
            nodes = [n for n in ast.walk(tree) if "**Answer" in ast.unparse(n)]  # outside first
            shown = [n.args[0] for n in nodes if isinstance(n, ast.Call) and n.args]
            texts = shown or [n for n in nodes if isinstance(n, ast.JoinedStr | ast.Constant)]
            text = ast.get_source_segment(source, texts[0])
            source = source.replace(text, '"Was your prediction right? Why?"')
        return source

    @staticmethod
    def prose(source: str) -> str:
        source = re.sub(r"Tried them\? \[.*?\]\(solutions/.*?\)\.?",
                        "Add cells below this one for your work.", source, flags=re.DOTALL)
        source = source.replace(", then look at `solutions/`", "")
        source += "\n\n*My prediction, and why:*" * ("**Predict" in source)
        return source + "\n\n*What I take away:*" * ("## Takeaways" in source)


def student_edition(folder: Path) -> None:
    """The series, the explorers, the glossary and the figures that they show, in a new folder.
    FileExistsError for one that is not empty."""
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(shipped("notebooks/glossary.md"), folder)
    notebooks = [*series(), shipped("notebooks/explorers.ipynb")]
    there = {"glossary.md", *(notebook.name for notebook in notebooks)}
    for notebook in notebooks:
        nb, _ = Unanswered().preprocess(nbformat.read(notebook, as_version=4), {})
        for cell in [c for c in nb.cells if c.cell_type == "markdown"]:
            cell.source = cell.source.replace("](../figures/", "](figures/")
            for figure in re.findall(r"\]\((figures/.*?)\)", cell.source):
                (folder / figure).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(shipped(figure), folder / figure)
            cell.source = re.sub(  # of a link to what is not there, its words
                r"\[([^\]]*)\]\(((?!https?:|figures/)[^)\s]+\.\w+)\)",
                lambda link: link[0] if link[2] in there else link[1], cell.source)
        nbformat.write(nb, folder / notebook.name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="write the series for a class")
    parser.add_argument("folder", type=Path, metavar="DIR", help="a new folder")
    student_edition(parser.parse_args().folder)
