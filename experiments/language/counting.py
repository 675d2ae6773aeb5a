"""Counts n-grams for each part; slices of the test text stand for seeds."""

import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from experiments.language import networks, synonyms
from seqjax.data.corpus import Part, read_corpus
from seqjax.models import ngram
from seqjax.ops.segments import Segments
from seqjax.tasks.text import Text

SLICES = 11  # disjoint stretches that the test text is cut into
SHORTEST = 1500  # characters of the test text
WINDOW = 64  # characters: a sentence that may be impossible
TEXT = 10**6  # characters that are counted, where there are as many
SIZES = (10**4, 10**5, 3 * 10**5, 10**6)  # and the whole text
ORDERS = tuple(range(1, 8))
SMOOTHED = (1, 2, 3, 5)
SECTION_SIZES = (10**4, 3 * 10**4, 10**5, 3 * 10**5)
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)  # of interpolation, and of add-alpha

Rows = list[dict[str, Any]]


def parts_of(config: Any) -> tuple[dict[str, Part], int]:
  """Returns the parts of the text, and the size of its vocabulary."""
  corpus = read_corpus(config.corpus, 'character', '')
  return corpus.parts, corpus.vocabulary.size


def check_length(config: Any):
  """Raises ValueError where a text is too short to hold some out."""
  parts, _ = parts_of(config)
  size = min(len(parts[split].tokens) for split in ('validation', 'test'))
  if size < SHORTEST:
    raise ValueError(
      f'A text is split so that {SHORTEST} characters or more are held out, but'
      f' of {config.corpus} they are {size}; give one of {20 * SHORTEST}.'
    )


def sizes(model: ngram.NGram) -> dict[str, int]:
  """Returns the entries of a model, and its bytes, stored as tightly as can be.

  Keys in the fewest whole bytes, and float32, as the parameters of networks.
  """
  packed = sum(
    len(t.keys) * (_key_bytes(t.keys) + 4) + 4 * len(t.weights)
    for t in model.tables
  )
  return {'entries': model.num_entries, 'bytes': packed}


def _key_bytes(keys: Int[np.ndarray, 'E']) -> int:
  return max(1, -(-int(keys[-1]).bit_length() // 8))


def text_rows(config: Any) -> Rows:
  """Returns bits by position of Kneser-Ney models, scored as networks are."""
  parts, vocab = parts_of(config)
  train = parts['train']
  task = Text(config.corpus, length=config.num_steps)
  batches = [
    task.batch(jax.random.key(0), step, 64, 'test')
    for step in range(networks.TEST_BATCHES)
  ]
  rows = []
  for size in (*(s for s in SIZES if s < len(train.tokens)), None):
    tokens, starts = train.tokens[:size], train.starts[:size]
    _fit(tokens, starts, vocab, 1)  # which compiles for the size
    scores = {}
    for order in ORDERS:
      began = time.process_time()
      model = _fit(tokens, starts, vocab, order)
      seconds = time.process_time() - began
      # A lower order knows more of what has few characters before it.
      short = {p: found for p, found in scores.items() if p + 2 < order}
      scores = _by_position(model, batches) | short
      rows += [
        {'order': order, 'characters_counted': len(tokens), 'seed': 0}
        | sizes(model)
        | {'seconds': seconds, 'chance': task.chance}
        | row
        for row in networks.binned(scores)
      ]
  return rows


def _fit(tokens, starts, vocab: int, order: int) -> ngram.NGram:
  segments = Segments(starts[None], np.ones_like(starts[None]))
  tokens = tokens[None].astype(np.int32)
  return ngram.fit(tokens, segments, vocab=vocab, order=order)


def _by_position(model: ngram.NGram, batches) -> dict[int, tuple[float, float]]:
  """Returns {position: (bits, weight)} of windows that begin without context.

  A target has the inputs of its window before it, and nothing else.
  """
  bits, weights = [], []
  for batch in batches:
    rows = np.concatenate([batch.inputs, batch.targets[:, -1:]], axis=1)
    bits.append(-model.log_prob(rows)[:, 1:] / np.log(2))
    weights.append(np.asarray(batch.weights, np.float64))
  bits, weights = np.concatenate(bits), np.concatenate(weights)
  total = weights.sum(axis=0)
  means = (bits * weights).sum(axis=0) / total
  return {p: (float(means[p]), float(total[p])) for p in range(len(means))}


def _slices(part: Part) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
  """Yields (number, tokens, whether each counts) of the test's stretches."""
  size = len(part.tokens) // SLICES // WINDOW * WINDOW
  for i in range(SLICES):
    inside = slice(i * size, (i + 1) * size)
    tokens = part.tokens[inside].astype(np.int64)
    yield i, tokens, (tokens > 0) & ~part.starts[inside]


def _bits(
  model: ngram.NGram,
  tokens: Int[np.ndarray, 'T'],
  counted: Bool[np.ndarray, 'T'],
) -> Float[np.ndarray, 'T']:
  """Returns the bits of each character of a stretch; 0 where it counts not."""
  bits = -model.log_prob(tokens[None])[0] / np.log(2)
  return np.where(counted, bits, 0.0)


def shuffling_rows(config: Any) -> Rows:
  """Returns bits of texts as they are, with examples or characters shuffled.

  `exact` is the cross-entropy of a stretch under the frequencies of the
  training text, to which 1 imagined character is added: counted here by
  itself, and what order 1 must agree with.
  """
  parts, vocab = parts_of(config)
  rng, train = np.random.default_rng(0), parts['train']
  text = train.tokens[:TEXT].astype(np.int64)
  windows = text[: len(text) // WINDOW * WINDOW].reshape(-1, WINDOW)
  texts = {
    'nothing': text[None],
    'characters': rng.permutation(text)[None],
    'no examples': windows,
    'examples': rng.permutation(windows),
  }
  counts = np.bincount(text, minlength=vocab)
  exact = -np.log2((counts + 1 / vocab) / (len(text) + 1))
  rows = []
  for shuffled, tokens in texts.items():
    counted = ngram.count(tokens, vocab=vocab, order=5)
    for order in SMOOTHED:
      smooth = ngram.interpolation if order == 1 else ngram.kneser_ney
      model = smooth(counted.truncate(order))
      for number, stretch, counts_there in _slices(parts['test']):
        if shuffled == 'characters':
          mixed = np.random.default_rng(number).permutation(len(stretch))
          stretch, counts_there = stretch[mixed], counts_there[mixed]
        total = counts_there.sum()
        rows.append(
          {
            'shuffled': shuffled,
            'order': order,
            'slice': number,
            'characters_counted': len(text),
            'bits': _bits(model, stretch, counts_there).sum() / total,
            'exact': exact[stretch[counts_there]].sum() / total,
          }
        )
  return rows


def smoothing_rows(config: Any) -> Rows:
  """Returns bits by smoothing and order, and how many windows are impossible.

  Bits are None where they are infinite. The strength of what is tuned is chosen
  on the validation text, for each order.
  """
  parts, vocab = parts_of(config)
  text = parts['train'].tokens[:TEXT].astype(np.int32)
  counts = ngram.count(text[None], vocab=vocab, order=max(SMOOTHED))
  _, *tuning = next(_slices(parts['validation']))
  rows = []
  for order in SMOOTHED:
    part = counts.truncate(order)
    tuned = [ngram.interpolation(part, e) for e in STRENGTHS]
    on_validation = [_bits(model, *tuning).sum() for model in tuned]
    models = {
      'maximum_likelihood': ngram.maximum_likelihood(part),
      'laplace': ngram.add_alpha(part),
      'interpolation': ngram.interpolation(part),
      'interpolation (tuned)': tuned[int(np.argmin(on_validation))],
      'katz': ngram.katz(part),
      'kneser_ney': ngram.kneser_ney(part),
    }
    for name, model in models.items():
      for number, stretch, counted in _slices(parts['test']):
        bits = _bits(model, stretch, counted)
        mean = bits.sum() / counted.sum()
        rows.append(
          {
            'smoothing': name,
            'order': order,
            'slice': number,
            'characters_counted': len(text),
            'bits': float(mean) if np.isfinite(mean) else None,
            'zero_share': float(
              np.isinf(bits).reshape(-1, WINDOW).any(axis=1).mean()
            ),
          }
        )
  return rows


def storage_rows(config: Any) -> Rows:
  """Returns entries and bytes by order and size, in disjoint sections."""
  parts, vocab = parts_of(config)
  tokens = parts['train'].tokens.astype(np.int32)
  room = len(tokens) // SLICES
  rows = []
  for section in range(SLICES):
    for size in (size for size in SECTION_SIZES if size <= room):
      text = tokens[section * room :][:size]
      counts = ngram.count(text[None], vocab=vocab, order=max(ORDERS))
      for order in ORDERS:
        model = ngram.maximum_likelihood(counts.truncate(order))
        rows.append(
          {
            'slice': section,
            'order': order,
            'characters_counted': len(text),
            'dense': float(vocab**order),
          }
          | sizes(model)
        )
  return rows


def synonym_rows(config: Any) -> Rows:
  """Returns what counts say of synonyms, one training set for each seed."""
  task = synonyms.Scarce(num_examples=config.examples)
  vocab = task.input.vocab
  batch = task.batch(jax.random.key(0), 0, synonyms.TEST_ROWS, 'test')
  inputs, rows = np.asarray(batch.inputs), []
  before = np.pad(inputs[:, :-1], ((0, 0), (1, 0)))
  for seed in range(config.first_seed, config.first_seed + config.seeds):
    texts = task.texts(jax.random.key(seed))
    for smoothing, order in (
      ('kneser_ney', 2),
      ('kneser_ney', 3),
      ('interpolation', 2),
    ):
      model = ngram.fit(texts, vocab=vocab, order=order, smoothing=smoothing)
      contexts = np.stack([before, inputs], axis=-1).reshape(-1, 2)
      # The first word of a row has nothing before it.
      known = np.full(inputs.shape, 2)
      known[:, 0] = 1
      contexts[known.ravel() == 1, 0] = contexts[known.ravel() == 1, 1]
      found = model.log_probs(contexts, known.ravel())
      rows.append(
        {'smoothing': smoothing, 'order': order, 'seed': seed}
        | sizes(model)
        | synonyms.scored(task, seed, batch, found.reshape(*inputs.shape, -1))
      )
  return rows
