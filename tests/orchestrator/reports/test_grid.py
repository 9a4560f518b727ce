from orchestrator.reports.grid import Cell, Grid, Heading, slug

HEADINGS = (Heading("arm", "", is_number=False), Heading("a", ""), Heading("b", ""))


def test_footnotes_are_numbered_once_in_the_order_of_the_cells() -> None:
    first, second = Cell("1", notes=("x", "y")), Cell("2", notes=("y", "z"))
    grid = Grid(HEADINGS, ((Cell("row"), first, second),))
    assert grid.notes == ("x", "y", "z")
    assert (grid.marks(first), grid.marks(second), grid.marks(Cell("row"))) == ((1, 2), (2, 3), ())


def test_a_row_of_one_cell_of_the_sweep_links_once_and_a_mixed_row_everywhere() -> None:
    grid = Grid(HEADINGS, ())
    same = tuple(Cell(text, anchor="r") for text in "abc")
    assert grid.links(same) == ("r", "", "")
    mixed = (Cell("a"), Cell("b", anchor="r"), Cell("c", anchor="s"))
    assert grid.links(mixed) == ("", "r", "s")


def test_the_published_number_stands_beside_ours() -> None:
    assert Cell("94.1", published="94.5").full_text == "94.1; paper 94.5"
    assert Cell("94.1").full_text == "94.1"
    spread = Cell("94.1", spread="0.2", published="94.5")
    assert (spread.own_text, spread.full_text) == ("94.1 \u00b1 0.2", "94.1 \u00b1 0.2; paper 94.5")


def test_a_slug_is_an_anchor() -> None:
    assert slug("runs-roberta-sst2-apt w/o_Ap 60%") == "runs-roberta-sst2-apt_w_o_Ap_60"
