"""Neural language models as distributions over sequences."""

import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.models.classifier import Classifier
from seqjax.models.language_model import (
  LanguageModel,
  NeuralLanguageModel,
  previous_tokens,
)
from seqjax.models.ngram import NGram
from seqjax.models.seq2seq import Seq2Seq
from seqjax.models.sequence_model import SequenceModel
from seqjax.nn import GRU, Attention, Bidirectional, Elman
from seqjax.ops import segments as segments_lib
from seqjax.typing import Segments, Spec

V = 4


def language_model(mixer, begin_token=0, vocab=V) -> NeuralLanguageModel:
  """Random parameters."""
  model = SequenceModel(Spec((), vocab), Spec((), V), (mixer,), expansion=0)
  rng = np.random.default_rng(0)
  tokens = jnp.zeros((1, 1), jnp.int32)
  shapes = jax.eval_shape(model.init, jax.random.key(0), tokens)
  variables = jax.tree.map(
    lambda leaf: jnp.asarray(
      np.asarray(rng.normal(size=leaf.shape) / 2, leaf.dtype)
    ),
    shapes,
  )
  return NeuralLanguageModel(model, variables, begin_token)


@pytest.mark.parametrize('mixer', [GRU(8), Attention(8, 3)])
def test_all_sequences_together_have_probability_one(mixer):
  """All V^T of them, by the chain rule."""
  sequences = jnp.asarray(list(itertools.product(range(V), repeat=6)))
  log_prob = np.asarray(language_model(mixer).log_prob(sequences), np.float64)
  total = np.sum(np.exp(np.sum(log_prob, axis=1)))
  assert abs(total - 1) < 1e-6


def test_sequences_are_sampled_as_often_as_they_are_likely():
  """After nothing and after a prompt; a chi-square at 99.9 %."""
  model = language_model(Elman(8), begin_token=V, vocab=V + 1)
  num_samples = 20_000
  sequences = np.asarray(list(itertools.product(range(V), repeat=3)))
  for prompt in ([], [2, 1]):
    rows = np.broadcast_to(
      np.array(prompt, np.int32), (num_samples, len(prompt))
    )
    samples = model.sample(jax.random.key(1), jnp.asarray(rows), 3)
    counts = np.bincount(samples @ np.array([16, 4, 1]), minlength=64)
    whole = np.concatenate([rows[:64], sequences], axis=1)
    log_prob = model.log_prob(jnp.asarray(whole))[:, len(prompt) :]
    expected = num_samples * np.exp(np.sum(log_prob, axis=1))
    assert np.sum((counts - expected) ** 2 / expected) < 103.4  # 63 degrees


def test_prompts_of_different_lengths_are_followed_as_each_alone():
  """Greedy, so that rows may be moved; an empty prompt is one too."""
  model = language_model(Elman(8))
  prompt, key = jnp.array([[1, 2, 3], [3, 0, 0], [0, 0, 0]]), jax.random.key(0)
  given = model.sample(
    key, prompt, 6, prompt_lengths=jnp.array([3, 1, 0]), temperature=0.0
  )
  for row, length in enumerate((3, 1, 0)):
    alone = model.sample(
      key, prompt[row : row + 1, :length], 6, temperature=0.0
    )
    np.testing.assert_array_equal(given[row], alone[0])


def test_the_token_before_is_that_of_the_piece():
  """As drawn in the docstring; a start at padding counts for what follows."""
  tokens = jnp.array([[7, 8, 0, 9, 5, 6]])
  valid = jnp.array([[1, 1, 0, 1, 1, 1]], bool)
  start = jnp.array([[0, 0, 0, 0, 1, 0]], bool)
  given = previous_tokens(tokens, Segments(start, valid), 4)
  np.testing.assert_array_equal(given[valid], [4, 7, 8, 4, 5])
  start = jnp.array([[0, 0, 1, 0, 0, 0]], bool)
  given = previous_tokens(tokens, Segments(start, valid), 4)
  np.testing.assert_array_equal(given[valid], [4, 7, 4, 9, 5])
  given = previous_tokens(tokens, None, 4)
  np.testing.assert_array_equal(given, [[4, 7, 8, 0, 9, 5]])


def test_packed_texts_are_as_likely_as_texts_apart():
  """Padding between them has log probability 0, whatever it holds."""
  model = language_model(Attention(8, 16))
  ids = jnp.array([[1, 1, 0, 1, 2, 2, 2, 0]])
  tokens = jnp.array([[3, 1, 99, 2, 0, 2, 1, -5]])
  packed = model.log_prob(tokens, segments_lib.from_ids(ids))
  first = model.log_prob(jnp.array([[3, 1, 2]]))
  second = model.log_prob(jnp.array([[0, 2, 1]]))
  np.testing.assert_allclose(packed[:, [0, 1, 3]], first, rtol=1e-5)
  np.testing.assert_allclose(packed[:, 4:7], second, rtol=1e-5)
  np.testing.assert_array_equal(packed[:, [2, 7]], 0)
  with pytest.raises(ValueError, match=r'are 0..3.*given: \[-5, 99\]'):
    model.log_prob(tokens)


@pytest.mark.parametrize('method', ['log_prob', 'sample'])
def test_counting_and_neural_models_have_one_face(method):
  """The same parameters, in the same order."""
  faces = [
    list(inspect.signature(getattr(model, method)).parameters)
    for model in (LanguageModel, NeuralLanguageModel, NGram)
  ]
  assert faces[0] == faces[1] == faces[2]


def test_what_is_no_distribution_is_refused():
  """A model that sees what it predicts, other vocabularies, no begin token."""
  tokens, variables = Spec((), V), {}
  both = SequenceModel(tokens, tokens, (Bidirectional(8),))
  with pytest.raises(ValueError, match='Bidirectional sees whole sequences'):
    NeuralLanguageModel(both, variables)
  classes = SequenceModel(Spec((), 3), tokens, (GRU(8),))
  with pytest.raises(ValueError, match='reads the tokens that it writes'):
    NeuralLanguageModel(classes, variables)
  model = SequenceModel(tokens, tokens, (GRU(8),))
  with pytest.raises(ValueError, match='begin_token is one of the 4'):
    NeuralLanguageModel(model, variables, begin_token=4)


@pytest.mark.parametrize(
  'model',
  [
    Classifier(Spec((), V), Spec((), V), (GRU(8),)),
    Seq2Seq(Spec((), V), Spec((), V), (GRU(8),), (GRU(8),)),
  ],
)
def test_only_sequence_models_are_language_models(model, untyped):
  """Others give one answer a sequence, or need a source."""
  name = type(model).__name__
  with pytest.raises(ValueError, match=f'of a SequenceModel.*a {name} was'):
    NeuralLanguageModel(model, {})


def test_texts_are_rows_of_integers(untyped):
  """One sentence for all others; lengths are those of the prompt."""
  model, key = language_model(GRU(8)), jax.random.key(0)
  for text in (np.array([1, 2]), np.zeros((1, 2, 3), int)):
    with pytest.raises(ValueError, match=r'given as \[B T\]'):
      model.log_prob(text)
    with pytest.raises(ValueError, match=r'given as \[B T\]'):
      model.sample(key, text, 2)
  with pytest.raises(ValueError, match='are integers'):
    model.log_prob(np.zeros((1, 2)))
  with pytest.raises(ValueError, match=r'numbers in 0\.\.2.*\[3\]'):
    model.sample(key, np.zeros((1, 2), int), 2, prompt_lengths=np.array([3]))


def test_bytes_and_nothing_are_texts_too(untyped):
  """A begin token beyond a byte is read as itself; no token has no type."""
  model = language_model(GRU(8), begin_token=299, vocab=300)
  text, key = np.array([[3, 1, 2]]), jax.random.key(0)
  np.testing.assert_array_equal(
    model.log_prob(text.astype(np.uint8)), model.log_prob(text)
  )
  np.testing.assert_array_equal(
    model.sample(key, np.zeros((1, 0)), 5),
    model.sample(key, np.zeros((1, 0), np.uint8), 5),
  )
