"""Philox: the published vectors, and the floats made of its words."""

from __future__ import annotations

import subprocess

import pytest
import torch

from ans_fast import ops
from tests.conftest import ROOT

# Random123's known answers for philox4x32-10 (kat_vectors): counter, key, words.
KNOWN_ANSWERS = [
    ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]
PROGRAM = """
#include <cstdio>
#include <cstdlib>
#include "common/philox.h"
int main(int, char** a) {
  uint64_t n[6];
  for (int i = 0; i < 6; ++i) n[i] = strtoull(a[i + 1], nullptr, 10);
  const ans::PhiloxBlock block = ans::philox(n[4] | n[5] << 32, n[0] | n[1] << 32, n[2], n[3]);
  for (uint32_t word : block.word) printf("%u ", word);
}
"""


@pytest.mark.compiles
def test_known_answers(tmp_path):
    (tmp_path / "philox.cpp").write_text(PROGRAM)
    subprocess.run(
        ["g++", "-std=c++17", "-I", ROOT / "csrc", tmp_path / "philox.cpp", "-o", tmp_path / "philox"], check=True
    )
    for counter, key, words in KNOWN_ANSWERS:
        printed = subprocess.check_output([tmp_path / "philox", *map(str, counter + key)], text=True)
        assert list(map(int, printed.split())) == words


def test_draws_begin_with_the_known_answer():
    words = torch.tensor(KNOWN_ANSWERS[0][2])
    assert torch.equal(ops.ans_noise(0, 1, 4)[0], (words >> 8) * 2.0**-24)


def test_draws_fill_the_unit_interval():
    noise = ops.ans_noise(5, 1000, 100).double()
    assert 0 <= noise.min() < 1e-3
    assert 1 - 1e-3 < noise.max() < 1
    assert abs(noise.mean() - 0.5) < 4 * (1 / 12 / 1e5) ** 0.5


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match="n_rows and dim must be at least 0, got -1 and 3"):
        ops.ans_noise(0, -1, 3)


@pytest.mark.parametrize(("n_rows", "dim"), [(2**62, 0), (0, 2**31 - 1)])
def test_nothing_to_draw_ends_at_once(n_rows, dim):
    assert ops.ans_noise(0, n_rows, dim).shape == (n_rows, dim)


def test_sizes_beyond_counting():
    with pytest.raises(ValueError, match=r"n_rows and dim together must be below 2\^63, got 4611686018427387904 and 8"):
        ops.ans_noise(0, 2**62, 8)


def test_opcheck():
    torch.library.opcheck(torch.ops.ans_fast.ans_noise, (torch.tensor([3]), 5, 6))
