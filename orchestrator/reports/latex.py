"""Tables as LaTeX (PURE): booktabs, one float per table, to be read by a document."""

from collections.abc import Sequence

from orchestrator.reports.grid import Cell, Grid, slug

PREAMBLE = r"""% Needs \usepackage{booktabs} and \usepackage{graphicx}.
% Comments name the runs behind each row; the report's cells.csv has the command of each run."""
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # \textquotedbl is not in the default encoding of fonts.
    '"': "''",
    "\u00b1": r"$\pm$",
}


def escape(text: str) -> str:
    """Text that TeX prints as it is; characters that it may lack become question marks."""
    return "".join(_escaped(char) for char in " ".join(text.split()))


def _escaped(char: str) -> str:
    return _ESCAPES.get(char, char if char.isascii() else "?")


def to_latex(grids: Sequence[Grid], mode: str) -> str:
    """All tables of a report as one file.

    Args:
        grids: The tables.
        mode: Whether the runs follow the paper or the authors' code; every caption says it.

    Returns:
        LaTeX that a document inputs.
    """
    return "\n\n".join([PREAMBLE, *(_float(grid, mode) for grid in grids)]) + "\n"


def _float(grid: Grid, mode: str) -> str:
    spec = "".join("r" if column.is_number else "l" for column in grid.columns)
    layout = f" (layout of {grid.source})" if grid.source else ""
    caption = escape(f"{grid.title}{layout}. Mode: {mode}.")
    heads = " & ".join(escape(column.heading) for column in grid.columns)
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{slug(grid.name).replace('_', '-')}}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{{spec}}}",
        r"\toprule",
        rf"{heads} \\",
        r"\midrule",
        *(line for row in grid.rows for line in _row(grid, row)),
        r"\bottomrule",
        r"\end{tabular}}",
        *_notes(grid),
        r"\end{table}",
    ]
    return "\n".join(lines)


def _row(grid: Grid, row: Sequence[Cell]) -> list[str]:
    texts = " & ".join(_cell(grid, cell) for cell in row)
    runs = " | ".join(dict.fromkeys(" ".join(cell.run_ids) for cell in row if cell.run_ids))
    return [rf"{texts} \\", f"% runs: {' '.join(runs.split()) or 'none'}"]


def _cell(grid: Grid, cell: Cell) -> str:
    text = escape(cell.full_text)
    marks = ",".join(map(str, grid.marks(cell)))
    return rf"{text}\textsuperscript{{{marks}}}" if marks else text


def _notes(grid: Grid) -> list[str]:
    return [
        rf"\par\footnotesize\textsuperscript{{{number}}} {escape(note)}"
        for number, note in enumerate(grid.notes, 1)
    ]
