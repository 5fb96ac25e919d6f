"""The tree against the vectors of Certificate Transparency, and every path of every small tree."""

import random

import pytest

from unmoved.smooth.voting import merkle
from unmoved_check.classes import tree_hash

# github.com/google/certificate-transparency, cpp/merkletree/merkle_tree_test.cc: the leaves and the roots of 1 to 8
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("count", range(1, 9))
def test_vectors_of_certificate_transparency(count):
    leaves = [bytes.fromhex(leaf) for leaf in LEAVES[:count]]
    assert merkle.tree(leaves).root.hex() == ROOTS[count - 1] == tree_hash(leaves).hex()


def test_every_path_proves_its_leaf_and_nothing_else():
    draw = random.Random(1)
    for count in [*range(1, 20), 31, 32, 33, 100]:
        leaves = [draw.randbytes(3) for _ in range(count)]
        tree = merkle.tree(leaves)
        assert tree.root == tree_hash(leaves)
        for index, leaf in enumerate(leaves):
            steps = tree.path(index)
            assert merkle.proves(tree.root, leaf, index, count=count, steps=steps)
            assert not merkle.proves(tree.root, leaf + b"x", index, count=count, steps=steps)
            assert not merkle.proves(tree.root, leaf, index, count=count, steps=(*steps, bytes(32)))
            for other in {(index + 1) % count, count - 1, 0} - {index}:
                assert leaves[other] == leaf or not merkle.proves(tree.root, leaf, other, count=count, steps=steps)
            if steps:
                assert not merkle.proves(tree.root, leaf, index, count=count, steps=steps[:-1])
                assert not merkle.proves(tree.root, leaf, index, count=count, steps=(bytes(32), *steps[1:]))
        assert not merkle.proves(tree.root, leaves[0], -1, count=count, steps=tree.path(0))


def test_a_node_is_no_leaf():
    tree = merkle.tree([b"a", b"b", b"c", b"d"])
    left, right = tree.levels[1]
    forged = tree.levels[0][0] + tree.levels[0][1]
    assert not merkle.proves(tree.root, forged, 0, count=2, steps=(right,))
    assert left != merkle.tree([forged]).root


def test_leaves_of_128_classes():
    assert [len(leaf) for leaf in merkle.leaves(bytes(300), 1)] == [128, 128, 44]
    assert [len(leaf) for leaf in merkle.leaves(bytes(600), 2)] == [256, 256, 88]
