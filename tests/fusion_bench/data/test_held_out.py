"""The images that are held out of train, and the division of a split."""

from __future__ import annotations

from fusion_bench.data.held_out import divide_images, held_out_images, is_held_out


def test_one_image_in_twenty_is_held_out_whatever_others_there_are() -> None:
    chosen = held_out_images(range(20_000))
    assert 900 < len(chosen) < 1_100
    assert chosen == {image for image in range(20_000) if is_held_out(image)}
    assert held_out_images(range(5_000)) == {image for image in chosen if image < 5_000}


def test_few_images_have_one_held_out_all_the_same() -> None:
    few = [image for image in range(200) if image not in held_out_images(range(200))][:9]
    (one,) = held_out_images(few)
    assert one in few
    assert held_out_images(reversed(few)) == {one}
    assert held_out_images([]) == frozenset()


def test_images_are_divided_in_the_order_of_their_hashes() -> None:
    parts = divide_images(range(1_000), (0.2, 0.05))
    assert [len(part) for part in parts] == [200, 50, 750]
    assert frozenset().union(*parts) == frozenset(range(1_000))
    assert divide_images(reversed([*range(1_000), 3]), (0.2, 0.05)) == parts
    assert parts[0] != frozenset(range(200))
    assert [len(part) for part in divide_images(range(3), (0.2, 0.05))] == [1, 1, 1]
