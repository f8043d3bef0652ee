import matplotlib as mpl
from matplotlib.figure import Figure

from mitsugo.report.drawing import display_width, drawable, drawing, png_of, shortened


def test_the_style_of_others_is_left_as_it_was():
    before = dict(mpl.rcParams)
    with drawing():
        assert mpl.rcParams["font.family"] == ["DejaVu Sans", "IPAexGothic"]
        png_of(Figure(figsize=(1, 1)))
    assert dict(mpl.rcParams) == before


def test_names_are_written_with_letters_that_the_fonts_have():
    assert drawable("打痕（大） é") == "打痕（大） é"
    assert drawable("a\n🚗\udc80") == r"a\n\U0001f697\udc80"


def test_long_names_are_cut_to_their_width():
    assert shortened("x" * 18) == "x" * 18
    for name in ("x" * 40, "傷" * 40, "🚗" * 9):
        assert shortened(name).endswith("…")
        assert 16 <= display_width(shortened(name)) <= 18
