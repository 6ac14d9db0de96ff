"""Lines over time, as an SVG draws them."""

from porch.status.chart import HEIGHT, WIDTH, draw


def test_a_line_runs_from_the_left_edge_to_the_right_one() -> None:
    chart = draw([[0.0, 50.0, 100.0]])
    assert chart.paths == [f"M0.0 {HEIGHT}.0 L{WIDTH / 2:.1f} {HEIGHT / 2:.1f} L{WIDTH}.0 0.0"]
    assert chart.scale == [100.0, 50.0, 0.0]


def test_where_nothing_was_measured_there_is_a_gap() -> None:
    (path,) = draw([[10.0, 10.0, None, 10.0, 10.0]]).paths
    assert path.count("M") == 2


def test_a_value_without_neighbours_is_a_dot_and_no_part_of_a_line() -> None:
    chart = draw([[10.0, None, 5.0, 5.0, None, 10.0]])
    assert chart.paths == [f"M{WIDTH * 2 / 5:.1f} {HEIGHT / 2:.1f} L{WIDTH * 3 / 5:.1f} {HEIGHT / 2:.1f}"]
    assert chart.dots == [f"M0.0 0.0h0 M{WIDTH}.0 0.0h0"]
    alone = draw([[10.0]])
    assert (alone.paths, alone.dots) == ([""], [f"M{WIDTH / 2:.1f} 0.0h0"])


def test_a_scale_ends_with_a_round_number_above_all_values() -> None:
    for highest, top in ((0.2, 0.2), (7.0, 8.0), (120.0, 150.0), (2600.0, 3000.0), (9100.0, 10000.0)):
        assert draw([[highest]]).scale[0] == top


def test_a_limit_is_drawn_where_the_scale_reaches_it() -> None:
    assert draw([[100.0]], limit=50.0).limit == HEIGHT / 2
    assert draw([[100.0]], limit=500.0).limit is None


def test_nothing_is_drawn_of_nothing() -> None:
    chart = draw([[], [None, None]])
    assert chart.paths == chart.dots == ["", ""]
