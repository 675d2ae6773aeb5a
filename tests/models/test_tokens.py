"""Tokens outside the vocabulary: an error outside jit, NaN inside, in all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.data.corpus import Corpus, Vocabulary
from seqjax.models import (
  Classifier,
  MLPClassifier,
  NeuralLanguageModel,
  Seq2Seq,
  SequenceModel,
  ngram,
)
from seqjax.nn import Elman
from seqjax.ops.segments import from_lengths
from seqjax.typing import Spec

V = 4
SPEC, MIXERS = Spec((), V), (Elman(8),)
GOOD = np.array([[1, 2, 3], [0, 1, 2]], np.int32)
MODELS = {
  'sequence': SequenceModel(SPEC, SPEC, MIXERS),
  'one token': SequenceModel(Spec((), 1), SPEC, MIXERS),
  'classifier': Classifier(SPEC, SPEC, MIXERS),
  'mlp': MLPClassifier(SPEC, 2, max_length=3),
  'source': Seq2Seq(SPEC, SPEC, MIXERS, MIXERS),
  'target': Seq2Seq(SPEC, SPEC, MIXERS, MIXERS),
}


def arguments(name, tokens, segments=None):
  """Returns what the model is called with: one side, or two."""
  if name == 'one token':
    tokens = np.where(tokens == GOOD, 0, tokens)
  if name == 'source':
    return (tokens, GOOD), (segments, None)
  if name == 'target':
    return (GOOD, tokens), (None, segments)
  return tokens, segments


@pytest.mark.parametrize('name', MODELS)
def test_no_model_wraps_or_clamps_a_token(name, untyped):
  """Row 1 holds -1, -100 or the size of the vocabulary; row 0 is not hurt."""
  model = MODELS[name]
  variables = model.init(jax.random.key(0), *arguments(name, GOOD))
  apply = jax.jit(model.apply)
  expected = apply(variables, *arguments(name, GOOD))
  padded = from_lengths(np.array([3, 2]), 3)
  for bad in (-1, -100, V, 2**31 - 1):
    tokens = GOOD.copy()
    tokens[1, 2] = bad
    with pytest.raises(ValueError, match=rf'Tokens.*\[{bad}\]'):
      model.apply(variables, *arguments(name, tokens))
    found = apply(variables, *arguments(name, tokens))
    assert np.isnan(found[1]).any()
    np.testing.assert_array_equal(found[0], expected[0])
    # At padding it may be any.
    found = apply(variables, *arguments(name, tokens, padded))
    assert np.isfinite(found).all()
    assert np.isfinite(
      model.apply(variables, *arguments(name, tokens, padded))
    ).all()


@pytest.mark.parametrize('name', MODELS)
def test_tokens_are_integers(name, untyped):
  """A sentence, not Flax's."""
  model = MODELS[name]
  with pytest.raises(ValueError, match='Tokens are integers.*float'):
    jax.eval_shape(
      model.init, jax.random.key(0), *arguments(name, GOOD.astype('f4'))
    )


def test_a_step_takes_tokens_of_the_vocabulary():
  """One position at a time, as when a stream is read."""
  model = MODELS['sequence']
  variables = model.init(jax.random.key(0), GOOD)
  carry = model.initialize_carry(2)
  with pytest.raises(ValueError, match=r'0\.\.3.*\[-1\]'):
    model.apply(variables, carry, np.array([1, -1]), method='step')


def test_the_probability_of_a_foreign_token_is_nan_inside_jit():
  """Of those that the model reads but never writes, too."""
  model = SequenceModel(Spec((), V + 1), SPEC, MIXERS)
  variables = model.init(jax.random.key(0), GOOD)
  language = NeuralLanguageModel(model, variables, begin_token=V)
  expected = language.log_prob(GOOD)
  for bad in (-1, V, V + 1):
    tokens = GOOD.copy()
    tokens[1, 2] = bad
    with pytest.raises(ValueError, match=rf'\[{bad}\]'):
      language.log_prob(tokens)
    found = jax.jit(language.log_prob)(tokens)
    assert np.isnan(found[1, 2])
    np.testing.assert_array_equal(found[0], expected[0])
    padded = from_lengths(np.array([3, 2]), 3)
    gradient = jax.grad(
      lambda v, tokens=tokens, padded=padded: jnp.sum(
        NeuralLanguageModel(model, v, V).log_prob(tokens, padded)
      )
    )(variables)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))


@pytest.mark.parametrize('bad', [-1, V])
def test_counts_take_tokens_of_the_vocabulary(bad):
  """To count, to score, to continue."""
  model = ngram.fit(GOOD, vocab=V, order=2)
  tokens = np.where(GOOD == 3, bad, GOOD)
  for call in (
    lambda: ngram.fit(tokens, vocab=V, order=2),
    lambda: model.log_prob(tokens),
    lambda: model.log_probs(tokens),
    lambda: model.sample(jax.random.key(0), tokens, 1),
  ):
    with pytest.raises(ValueError, match=r'0\.\.3'):
      call()


@pytest.mark.parametrize('characters', [None, np.array([97, 98])])
def test_a_corpus_decodes_tokens_of_its_vocabulary(characters):
  """Token -1 is not the last character."""
  corpus = Corpus({}, Vocabulary(characters), 0.0)
  for bad in (-1, corpus.vocabulary.size):
    with pytest.raises(
      ValueError, match=rf'0\.\.{corpus.vocabulary.size - 1}.*{bad}'
    ):
      corpus.vocabulary.decode(np.array([1, bad]))


@pytest.mark.parametrize('length', [0, -1, 3])
def test_ngrams_of_a_length_that_was_not_counted_are_refused(length):
  """Length 0 is not the longest."""
  counts = ngram.count(GOOD, vocab=V, order=2)
  with pytest.raises(ValueError, match=rf'1\.\.2, but order={length}'):
    counts.ngrams(length)
