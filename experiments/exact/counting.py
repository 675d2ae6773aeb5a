"""Checks of distributions over tokens: counts, sums and samples."""

import collections
import itertools

import jax
import numpy as np

from experiments.exact.checks import FEATURES, Mixers, check, jit
from seqjax.models import NeuralLanguageModel, SequenceModel, ngram
from seqjax.typing import Spec

VOCAB, LENGTH = 4, 6  # 4,096 sequences, all of which are tried
SAMPLES, SAMPLED = 4096, 3  # sequences, and their length
LEAST = 5  # expected samples of a cell of the chi-square statistic


def text(length: int = 2000) -> np.ndarray:
  """Returns tokens of which few are frequent."""
  shares = np.array([0.5, 0.3, 0.15, 0.05])
  return np.random.default_rng(0).choice(VOCAB, length, p=shares)


def counts(mixers: Mixers) -> list[dict]:
  """Compares counts of n-grams with those of a loop over the text."""
  del mixers
  rows, tokens = [], text()
  found = ngram.count(tokens, vocab=VOCAB, order=5)
  for order in range(1, 6):
    grams = [
      tuple(tokens[i : i + order]) for i in range(len(tokens) - order + 1)
    ]
    by_hand = collections.Counter(grams)
    levels = map(tuple, found.ngrams(order).tolist())
    counted = dict(zip(levels, found.levels[order - 1].counts, strict=True))
    names, subject = {*by_hand, *counted}, f'order {order}'
    wrong = sum(by_hand[g] != counted.get(g, 0) for g in names)
    rows.append(check('n-grams with another count', subject, 2000, 0, wrong))
    model = ngram.maximum_likelihood(found.truncate(order))
    of_context = collections.Counter()
    for gram, number in by_hand.items():
      of_context[gram[:-1]] += number
    contexts = np.array([*of_context], int).reshape(len(of_context), order - 1)
    probs = np.exp(model.log_probs(contexts))
    ratios = [[by_hand[(*h, w)] / of_context[h] for w in range(VOCAB)]
              for h in of_context]  # fmt: skip
    sums = np.abs(probs.sum(axis=1) - 1).max()
    rows += [
      check('sum over the next token, minus 1', subject, len(contexts), 0,
            sums, 1e-12),
      check('p(w | h) minus n(hw) / n(h)', subject, len(contexts), 0,
            np.abs(probs - ratios).max(), 1e-12),
    ]  # fmt: skip
  return rows


def chain_rule(mixers: Mixers) -> list[dict]:
  """Sums the probabilities of all sequences, and tests samples by them."""
  rows, models = [], {}
  for order, smoothing in itertools.product((1, 2, 3), ngram.SMOOTHINGS):
    fitted = ngram.fit(text(), vocab=VOCAB, order=order, smoothing=smoothing)
    models[f'{order}-gram, {smoothing}'] = fitted
  for name, make in mixers.items():
    tokens = Spec((), vocab=VOCAB)
    model = SequenceModel(tokens, tokens, (make(FEATURES, LENGTH + 1),))
    zeros = np.zeros((1, LENGTH), np.int32)
    variables = jit(model.init)(jax.random.key(0), zeros)
    models[name] = NeuralLanguageModel(model, variables)
  for name, model in models.items():
    total = _probabilities(model, LENGTH).sum()
    label = 'sum of the probabilities of all sequences of 6 tokens'
    rows.append(check(label, name, VOCAB**LENGTH, 1, total, 1e-6))
    rows.append(_samples(name, model))
  return rows


def _probabilities(model, length: int) -> np.ndarray:
  """Computes the probability of every sequence, in the order of the digits."""
  every = itertools.product(range(VOCAB), repeat=length)
  log_prob = model.log_prob(np.array([*every], np.int32))
  return np.exp(np.asarray(log_prob, np.float64).sum(axis=1))


def _samples(name: str, model) -> dict:
  """Compares samples with probabilities; cells are pooled to 5 samples."""
  expected = SAMPLES * _probabilities(model, SAMPLED)
  empty = np.zeros((SAMPLES, 0), np.int32)
  drawn = np.asarray(model.sample(jax.random.key(1), empty, SAMPLED))
  cells = drawn @ VOCAB ** np.arange(SAMPLED)[::-1]
  found = np.bincount(cells, minlength=VOCAB**SAMPLED)
  order = np.argsort(-expected)
  expected, found = expected[order], found[order]
  large = int((expected >= LEAST).sum()) - 1  # the last one takes the rest
  pool = [np.append(a[:large], a[large:].sum()) for a in (expected, found)]
  freedom = len(pool[0]) - 1
  statistic = ((pool[1] - pool[0]) ** 2 / pool[0]).sum()
  label = 'chi-square of samples of 3 tokens, within 5 deviations of its mean'
  spread = 5 * (2 * freedom) ** 0.5
  return check(label, name, SAMPLES, freedom, statistic, spread)
