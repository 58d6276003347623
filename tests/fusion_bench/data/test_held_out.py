"""Which images are held out of train."""

from __future__ import annotations

from fusion_bench.data.held_out import dealt, held_out, held_out_of


def test_one_image_in_twenty_is_held_out_whatever_others_there_are() -> None:
    chosen = held_out_of(range(20_000))
    assert 900 < len(chosen) < 1_100
    assert chosen == {image for image in range(20_000) if held_out(image)}
    assert held_out_of(range(5_000)) == {image for image in chosen if image < 5_000}


def test_few_images_have_one_held_out_all_the_same() -> None:
    few = [image for image in range(200) if image not in held_out_of(range(200))][:9]
    (one,) = held_out_of(few)
    assert one in few
    assert held_out_of(reversed(few)) == {one}
    assert held_out_of([]) == frozenset()


def test_images_are_dealt_out_whole_in_an_order_of_their_own() -> None:
    parts = dealt(range(1_000), (0.2, 0.05))
    assert [len(part) for part in parts] == [200, 50, 750]
    assert frozenset().union(*parts) == frozenset(range(1_000))
    assert dealt(reversed([*range(1_000), 3]), (0.2, 0.05)) == parts
    assert parts[0] != frozenset(range(200))
    assert [len(part) for part in dealt(range(3), (0.2, 0.05))] == [1, 1, 1]
