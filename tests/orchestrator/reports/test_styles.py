from orchestrator.reports.styles import MAX_LOOKS, PALETTE, make_styles


def test_rows_differ_in_marker_as_well_as_in_colour() -> None:
    styles = make_styles({str(i): "m" for i in range(len(PALETTE))})
    assert len({style.color for style in styles.values()}) == len(PALETTE)
    assert len({style.marker for style in styles.values()}) == len(PALETTE)


def test_looks_repeat_late() -> None:
    styles = make_styles({str(i): str(i) for i in range(60)})
    assert len({(s.color, s.marker) for s in styles.values()}) == 60


def test_very_many_rows_look_like_their_method_and_the_legend_names_that() -> None:
    few = make_styles({f"apt {i}%": "apt" for i in range(MAX_LOOKS)})
    many = make_styles({f"apt {i}%": "apt" for i in range(MAX_LOOKS)} | {"ft": "ft"})
    assert len({style.name for style in few.values()}) == MAX_LOOKS
    assert {style.name for style in many.values()} == {"apt", "ft"}
    assert many["apt 1%"] == many["apt 2%"] != many["ft"]
