"""Tables as LaTeX (PURE): booktabs, one float per table, to be read by a document."""

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.reports.grid import Cell, Grid, slug

LINE_CHARS = 88
"""So many characters of \\footnotesize fit beside each other in the article class; wider tables are
cut into parts that repeat the first column."""
MAX_TEXT_CHARS = 40
"""Columns of longer texts are set as paragraphs of this width."""
_GAP_CHARS = 2
_FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
"""Makes smaller what is too wide for the document at hand, and leaves the rest as it is."""
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
    parts = (part for grid in grids for part in _parts(grid))
    return "\n\n".join([PREAMBLE, *(_float(part, mode) for part in parts)]) + "\n"


def _parts(grid: Grid) -> list[Grid]:
    """The table, in pieces that a page is wide enough for: the first column and some others."""
    widths = [_chars(grid, index) for index in range(len(grid.columns))]
    groups: list[list[int]] = [[]]
    for index in range(1, len(widths)):
        so_far = sum(widths[i] for i in (0, *groups[-1]))
        if groups[-1] and so_far + widths[index] > LINE_CHARS:
            groups.append([])
        groups[-1].append(index)
    if len(groups) == 1:
        return [grid]
    return [
        _part([0, *group], grid, f"{number} of {len(groups)}")
        for number, group in enumerate(groups, 1)
    ]


def _chars(grid: Grid, index: int) -> int:
    """How many characters one column is wide, gap included."""
    cells = [row[index] for row in grid.rows]
    longest = max(len(cell.full_text) + 2 * len(cell.notes) for cell in cells) if cells else 0
    if not grid.columns[index].is_number:
        longest = min(longest, MAX_TEXT_CHARS)
    return max(longest, len(grid.columns[index].heading)) + _GAP_CHARS


def _part(indices: Sequence[int], grid: Grid, which: str) -> Grid:
    return replace(
        grid,
        columns=tuple(grid.columns[i] for i in indices),
        rows=tuple(tuple(row[i] for i in indices) for row in grid.rows),
        name=f"{grid.name}-{which.partition(' ')[0]}",
        title=f"{grid.title} (part {which})",
    )


def _float(grid: Grid, mode: str) -> str:
    spec = "".join(_column_spec(grid, index) for index in range(len(grid.columns)))
    layout = f" (layout of {grid.source})" if grid.source else ""
    caption = escape(f"{grid.title}{layout}. Mode: {mode}.")
    heads = " & ".join(escape(column.heading) for column in grid.columns)
    lines = [
        r"\begin{table}[htbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{slug(grid.name).replace('_', '-')}}}",
        r"\par\smallskip",
        _FIT,
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


def _column_spec(grid: Grid, index: int) -> str:
    if grid.columns[index].is_number:
        return "r"
    longest = max((len(row[index].full_text) for row in grid.rows), default=0)
    return f"p{{{MAX_TEXT_CHARS / 2:g}em}}" if longest > MAX_TEXT_CHARS else "l"


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
        rf"\par\raggedright\textsuperscript{{{number}}} {escape(note)}"
        for number, note in enumerate(grid.notes, 1)
    ]
