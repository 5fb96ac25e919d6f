from __future__ import annotations

import pytest

from unmoved.core.errors import UsageError
from unmoved.train import CrownIbp, GaussianNoise, Ibp, MtlIbp, Sabr
from unmoved.train.catalogue import CATALOGUE, Wish, objective


def test_every_name_makes_the_objective_of_that_name():
    for name, entry in CATALOGUE.items():
        sizes = dict.fromkeys(entry.needs, 0.1)
        made = objective(name, Wish(**sizes, weight=0.5 if entry.weight else None))
        assert made.name == {"plain": "noise"}.get(name, name)
        if entry.weight:
            assert made.settings()[entry.weight] == "0.5"


def test_settings_arrive():
    assert objective("ibp", Wish(eps=0.1, clip=(0.0, 1.0))) == Ibp(0.1)
    assert objective("ibp", Wish(eps=0.1)) == Ibp(0.1, clip=None)
    assert objective("sabr", Wish(eps=0.1, weight=0.3, clip=(0.0, 1.0))) == Sabr(0.1, size=0.3)
    assert objective("mtl-ibp", Wish(eps=0.1, weight=0.3)) == MtlIbp(0.1, weight=0.3, clip=None)
    assert objective("crown-ibp", Wish(eps=0.1, weight=0.0)) == CrownIbp(0.1, last=0.0, clip=None)
    assert objective("plain", Wish(clip=(0.0, 1.0))) == GaussianNoise(0.0)


@pytest.mark.parametrize(
    ("name", "wish", "word"),
    [
        ("ipb", Wish(eps=0.1), "one of plain, noise"),
        ("ibp", Wish(), "ibp needs it"),
        ("ibp", Wish(eps=0.1, sigma=0.1), "ibp has none"),
        ("noise", Wish(sigma=0.1, weight=1.0), "noise has none"),
        ("sabr", Wish(eps=0.1, weight=2.0), "share of eps"),
    ],
)
def test_what_does_not_fit_is_refused(name, wish, word):
    with pytest.raises(UsageError, match=word):
        objective(name, wish)
