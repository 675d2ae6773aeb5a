"""Prompts padded on the left, or anywhere, against those on the right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.models import (
  Seq2Seq,
  SequenceModel,
  beam_search,
  generate,
  rollout,
)
from seqjax.nn import GRU, Attention, Elman
from seqjax.nn.attention import POSITIONS
from seqjax.typing import Spec

TOKENS, VALUES = Spec((), 7), Spec((2,))
KEY = jax.random.key(0)
LENGTHS = np.array([5, 2, 1])
RIGHT = np.array([[1, 2, 3, 4, 5], [5, 6, 0, 0, 0], [3, 0, 0, 0, 0]])
VALID = {
  'left': np.array([[1, 1, 1, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1]], bool),
  'anywhere': np.array(
    [[1, 1, 1, 1, 1], [0, 1, 0, 1, 0], [0, 0, 1, 0, 0]], bool
  ),
}
MIXERS = {'gru': GRU(8)} | {
  positions: Attention(8, 40, positions=positions) for positions in POSITIONS
}


def random_variables(model, x):
  """Large enough for outputs to differ from position to position."""
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(model.init, KEY, x)
  return jax.tree.map(
    lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) / 2, leaf.dtype),
    shapes,
  )


def moved(right, valid, padding):
  """The rows of `right` at the valid positions, `padding` elsewhere."""
  rows = np.full_like(right, padding)
  for row, (there, length) in enumerate(zip(valid, LENGTHS, strict=True)):
    rows[row, there] = right[row, :length]
  return jnp.asarray(rows)


@pytest.mark.parametrize('name', MIXERS)
def test_tokens_are_those_after_a_prompt_that_is_padded_on_the_right(name):
  """With the same key, whatever stands at padding, and past 32 slots."""
  model = SequenceModel(TOKENS, TOKENS, (MIXERS[name],))
  variables = random_variables(model, jnp.asarray(RIGHT))

  def tokens(prompt, **padding):
    return generate(model, variables, KEY, jnp.asarray(prompt), 34, **padding)

  expected = tokens(RIGHT, prompt_lengths=LENGTHS)
  for valid in VALID.values():
    given = tokens(moved(RIGHT, valid, 99), prompt_valid=valid)
    np.testing.assert_array_equal(given, expected)
  assert len(np.unique(expected)) > 2


def test_beams_are_those_after_a_prompt_that_is_padded_on_the_right():
  """After a source, too."""
  mixers = Elman(8), Attention(8, 40)
  model = Seq2Seq(TOKENS, TOKENS, mixers, mixers, 'dot')
  source = jnp.asarray(RIGHT[:, ::-1])
  variables = random_variables(model, (source, jnp.asarray(RIGHT)))

  def search(prompt, **padding):
    return beam_search(
      model, variables, prompt, 6, beams=3, source=source, **padding
    )

  expected = search(jnp.asarray(RIGHT), prompt_lengths=LENGTHS)
  for valid in VALID.values():
    given = search(moved(RIGHT, valid, -1), prompt_valid=valid)
    np.testing.assert_array_equal(given.tokens, expected.tokens)
    np.testing.assert_allclose(given.scores, expected.scores, rtol=1e-4)


def test_a_rollout_reads_no_padding():
  """NaN stands there."""
  model = SequenceModel(VALUES, VALUES, (GRU(8), Attention(8, 40)))
  prefix = np.asarray(jax.random.normal(KEY, (3, 5, 2)))
  variables = random_variables(model, prefix)
  expected = rollout(
    model, variables, jnp.asarray(prefix), 5, prefix_lengths=LENGTHS
  )
  for valid in VALID.values():
    given = rollout(
      model, variables, moved(prefix, valid, np.nan), 5, prefix_valid=valid
    )
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)


def test_a_mask_may_be_traced():
  """A compiled program decides where padding stands."""
  model = SequenceModel(TOKENS, TOKENS, (GRU(8),))
  variables = random_variables(model, jnp.asarray(RIGHT))
  valid = VALID['left']

  @jax.jit
  def tokens(prompt, valid):
    return generate(model, variables, KEY, prompt, 5, prompt_valid=valid)

  prompt = moved(RIGHT, valid, 0)
  np.testing.assert_array_equal(
    tokens(prompt, valid),
    generate(model, variables, KEY, prompt, 5, prompt_valid=valid),
  )


@pytest.mark.parametrize(
  'options, sentence',
  [
    (
      {'prompt_valid': np.array([[1, 1], [0, 0]], bool)},
      r'a valid position to go on from, but.*rows \[1\]; put a begin token',
    ),
    (
      {'prompt_valid': np.array([[1, 1], [0, 1]])},
      r'booleans.*\[2, 2\], but int64\[2, 2\].*make it by jnp.asarray',
    ),
    ({'prompt_valid': np.ones((2, 3), bool)}, r'bool\[2, 3\] was given'),
    ({'prompt_valid': [[True, True]] * 2}, r'\[2, 2\], but list was given'),
    (
      {
        'prompt_valid': np.ones((2, 2), bool),
        'prompt_lengths': np.array([1, 2]),
      },
      'both were given; leave the lengths out',
    ),
    (
      {'prompt': np.array([[7, 1], [1, 2]])},
      r'Tokens of this model are 0\.\.6.*\[7\]',
    ),
  ],
)
def test_wrong_masks_get_a_sentence(options, sentence, untyped):
  """Before anything is compiled, from every function that takes one."""
  model = SequenceModel(TOKENS, TOKENS, (GRU(8),))
  options = {'prompt': np.ones((2, 2), int)} | options
  with pytest.raises(ValueError, match=sentence):
    generate(model, {}, KEY, num_tokens=5, **options)
  with pytest.raises(ValueError, match=sentence):
    beam_search(model, {}, num_tokens=5, beams=2, **options)


def test_a_rollout_refuses_a_row_without_a_position(untyped):
  """The sentence is the same."""
  model = SequenceModel(VALUES, VALUES, (GRU(8),))
  valid = np.array([[False, False], [True, False]])
  with pytest.raises(ValueError, match=r'has none in rows \[0\]'):
    rollout(model, {}, jnp.zeros((2, 2, 2)), 5, prefix_valid=valid)
