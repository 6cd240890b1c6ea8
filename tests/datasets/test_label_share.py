"""Test the choice of a share of the labeled images."""

import pytest

from vislab.datasets.label_share import check_share, choose_share
from vislab.errors import ConfigError

NAMES = [f"{i:05d}.jpg" for i in range(300)]
FIRST = [117, 163, 230]  # 1 % with seed 0


@pytest.mark.parametrize("share, count", [(0.01, 3), (0.05, 15), (0.1, 30), (0.25, 75), (0.5, 150), (1, 300)])
def test_counts(share, count):
    assert len(choose_share(NAMES, share, 0)) == count


def test_the_choice_is_fixed_for_all_time():
    assert choose_share(NAMES, 0.01, 0) == FIRST
    assert choose_share(NAMES, 0.01, 1) != FIRST


def test_smaller_shares_are_contained_in_larger_ones():
    chosen = [set(choose_share(NAMES, share, 3)) for share in (0.01, 0.05, 0.1, 0.25, 0.5, 1)]
    assert all(a < b for a, b in zip(chosen, chosen[1:], strict=False))


def test_the_order_of_the_files_does_not_matter():
    turned = NAMES[::-1]
    assert {turned[i] for i in choose_share(turned, 0.1, 0)} == {NAMES[i] for i in choose_share(NAMES, 0.1, 0)}


def test_at_least_one_image():
    assert len(choose_share(NAMES[:5], 0.01, 0)) == 1


@pytest.mark.parametrize("share, hint", [(0, ""), (-0.1, ""), (10, "did you mean 0.1"), (float("nan"), "")])
def test_what_is_no_share_is_refused(share, hint):
    with pytest.raises(ConfigError, match=f"label_share.*{hint}"):
        check_share(share, "DIOR")
