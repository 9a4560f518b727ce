import re
import shutil
import subprocess
from pathlib import Path

import pytest

from orchestrator.reports.grid import Cell, Grid, Heading
from orchestrator.reports.latex import escape, to_latex
from orchestrator.reports.render import build_report
from tests.orchestrator.reports.synthetic_sweep import (
    Trial,
    build_without_figures,
    demo_trials,
    write_sweep,
    write_trial,
)

DOCUMENT = r"""\documentclass{article}
\usepackage{booktabs,graphicx}
\begin{document}
\input{table.tex}
\end{document}
"""
SPECIAL = re.compile(r"(?<!\\)[&#_^~<>|\"]|[^\x00-\x7f]")


def check_structure(source: str) -> int:
    """Environments balance, rows have as many cells as columns, no bare special character."""
    open_environments: list[str] = []
    num_rows = num_columns = 0
    for line in source.splitlines():
        if line.startswith("%"):
            continue
        for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", line):
            if kind == "begin":
                open_environments.append(name)
            else:
                assert open_environments.pop() == name
        if found := re.search(r"\\begin\{tabular\}\{((?:[lr]|p\{20em\})+)\}", line):
            num_columns = len(found[1].replace("{20em}", ""))
        if line.endswith(r"\\"):
            assert len(re.split(r"(?<!\\)&", line)) == num_columns, line
            num_rows += 1
            assert SPECIAL.search(line.removesuffix(r"\\").replace(" & ", " ")) is None, line
        assert re.search(r"(?<!\\)%", line.removesuffix("%")) is None, line
        assert line.count("$") - line.count(r"\$") == 2 * line.count(r"$\pm$"), line
    assert open_environments == []
    braces = re.sub(r"\\[{}]", "", re.sub(r"^%.*", "", source, flags=re.MULTILINE))
    assert braces.count("{") == braces.count("}")
    return num_rows


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    sweep = write_sweep(tmp_path_factory.mktemp("runs") / "demo", demo_trials())
    failed = {"state": "FAILED", "reason": "50% & {more}_$"}
    write_trial(sweep, Trial("apt", 0.8), status=failed)
    return build_without_figures(sweep).latex.read_text(encoding="utf-8")


def test_the_structure_holds(source: str) -> None:
    # Eight rows and a heading in each of two tables at least.
    assert check_structure(source) >= 18
    assert source.isascii()
    for rule in ("toprule", "midrule", "bottomrule"):
        assert source.count(rf"\{rule}") == source.count(r"\begin{tabular}")


def test_labels_are_unique(source: str) -> None:
    labels = re.findall(r"\\label\{([^}]+)\}", source)
    assert len(labels) == len(set(labels)) >= 2


def test_the_check_finds_what_is_wrong(source: str) -> None:
    for wrong in (
        source.replace(r"\end{tabular}", "", 1),
        source.replace(r" & ", " ", 1),
        source.replace(r"\_", "_", 1),
        source.replace(r"\%", "%", 1),
    ):
        with pytest.raises((AssertionError, IndexError)):
            check_structure(wrong)


def test_each_row_names_its_runs(source: str) -> None:
    assert "% runs: " + " ".join(f"roberta-sst2-apt-full-0.6-s{s}" for s in (1, 2, 3)) in source
    assert "% runs: none" in source


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("50% & a_b", r"50\% \& a\_b"),
        ("{x}$#", r"\{x\}\$\#"),
        ("a\\b~c^d", r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d"),
        ("1 \u00b1 2", r"1 $\pm$ 2"),
        ('"a" < b', r"''a'' \textless{} b"),
        ("\u4e2d\nx", "? x"),
    ],
)
def test_special_characters_are_escaped(text: str, tex: str) -> None:
    assert escape(text) == tex


def test_footnotes_stand_below_the_table() -> None:
    headings = (Heading("arm", "", is_number=False), Heading("a_b", ""))
    row = (Cell("x"), Cell("1", notes=("100% sure",), published="2"))
    source = to_latex([Grid(headings, (row,), "t_1", "A & B", "Table 2")], "paper")
    assert r"1; paper 2\textsuperscript{1} \\" in source
    assert r"\par\raggedright\textsuperscript{1} 100\% sure" in source
    assert r"\caption{A \& B (layout of Table 2). Mode: paper.}" in source
    assert r"\label{tab:t-1}" in source
    assert check_structure(source) == 2


def test_a_table_wider_than_a_page_is_cut_and_each_part_has_its_rows_names_and_notes() -> None:
    headings = (Heading("arm", "", is_number=False), *(Heading(f"h{i}", "") for i in range(3)))
    cells = [Cell(letter * 36, notes=(f"note {letter}",)) for letter in "abc"]
    grid = Grid(headings, ((Cell("ft"), *cells),), "wide", "W")
    source = to_latex([grid], "paper")
    assert check_structure(source) == 4
    first, second = source.split(r"\end{table}")[:2]
    assert r"\caption{W (part 1 of 2). Mode: paper.}" in first
    assert r"\label{tab:wide-2}" in second
    assert (first.count("} note"), second.count("} note")) == (2, 1)
    assert r"\textsuperscript{1} note c" in second
    assert second.count("ft & ccc") == 1


def test_long_texts_are_set_as_paragraphs() -> None:
    headings = (Heading("arm", "", is_number=False), Heading("mind", "", is_number=False))
    source = to_latex([Grid(headings, ((Cell("ft"), Cell("long " * 30)),), "t", "T")], "paper")
    assert r"\begin{tabular}{lp{20em}}" in source
    assert check_structure(source) == 2


def test_a_report_without_trials_has_no_table(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    assert r"\begin{table}" not in build_report(tmp_path).latex.read_text()


def typeset(source: str, folder: Path) -> str:
    """The log of LaTeX over a document that inputs the tables and loads what they say they need."""
    pdflatex = shutil.which("pdflatex")
    if pdflatex is None:
        pytest.skip("no pdflatex: install one (Debian: apt-get install texlive-latex-base)")
    (folder / "table.tex").write_text(source)
    (folder / "paper.tex").write_text(DOCUMENT)
    command = [pdflatex, "-no-shell-escape", "-interaction=nonstopmode", "paper.tex"]
    subprocess.run(command, cwd=folder, check=False, capture_output=True, timeout=200)
    return (folder / "paper.log").read_text(encoding="latin-1")


def test_latex_typesets_every_table_without_a_complaint(source: str, tmp_path: Path) -> None:
    every_character = " ".join(map(chr, range(33, 127)))
    row = (Cell(every_character), Cell("1", notes=(every_character,), published="2"))
    headings = (Heading("arm", "", is_number=False), Heading(every_character, ""))
    odd = to_latex([Grid(headings, (row,), "odd", every_character, "Table 2")], "paper")
    log = typeset(f"{source}\n{odd}", tmp_path)
    complaints = re.findall(r"^(?:!|LaTeX Warning|Overfull|Missing character).*", log, re.MULTILINE)
    # Every label of a first run is new.
    assert [line for line in complaints if "Label(s) may have changed" not in line] == []
    assert "Output written on paper.pdf" in log


def test_what_latex_does_not_know_is_a_complaint(tmp_path: Path) -> None:
    assert re.search(r"^! Undefined control sequence", typeset(r"\unknown", tmp_path), re.MULTILINE)
