"""Checks of the way from series and text to tensors."""

import jax
import numpy as np

from experiments.exact.checks import Mixers, check, furthest
from seqjax.data.corpus import vocabulary_of
from seqjax.data.series import windows
from seqjax.models import specs
from seqjax.tasks import epochs
from seqjax.tasks.text import Text

PHRASE = 'the time machine'
SIZE, SPAN, EPOCHS = 200, 8, 200  # of a series that is cut into windows


def tau_windows(mixers: Mixers) -> list[dict]:
  """Cuts 1,000 values into windows of four, and compares with a loop."""
  del mixers
  series = np.random.default_rng(0).normal(size=1000)
  seen, after = windows(series, 4)
  by_hand = [series[i : i + 4] for i in range(996)], series[4:]
  sizes = zip(seen.shape + after.shape, (996, 4, 996), strict=True)
  subject = 'windows of 4'
  return [
    *(check('size of an axis', subject, 1000, e, got) for got, e in sizes),
    check('windows minus those of a loop', subject, 1000, 0,
          furthest(seen, np.array(by_hand[0]))),
    check('targets minus those of a loop', subject, 1000, 0,
          furthest(after, by_hand[1])),
  ]  # fmt: skip


def text_windows(mixers: Mixers) -> list[dict]:
  """Reads windows of a phrase as text, and counts where windows begin."""
  del mixers
  vocabulary = vocabulary_of(PHRASE)
  seen, after = windows(vocabulary.encode(PHRASE), 5)
  pairs = {vocabulary.decode(s): vocabulary.decode(np.array([a]))
           for s, a in zip(seen, after, strict=True)}  # fmt: skip
  rows = [
    check(f"'{seen}' is followed by '{after}'", 'text', 5, 1,
          pairs.get(seen) == after)
    for seen, after in (('the t', 'i'), ('he ti', 'm'))
  ]  # fmt: skip
  count = len(range(0, SIZE - SPAN - SPAN + 1, SPAN))
  first = _begins(count)
  every = _begins(count * EPOCHS)
  return rows + [
    check('offsets of the windows of one epoch', 'windows of 8', count, 1,
          len({begin % SPAN for begin in first})),
    check('windows of one epoch', 'windows of 8', count, count,
          len(set(first))),
    check('windows of 200 epochs with random offsets, of all that there are',
          'windows of 8', SIZE, SIZE - SPAN, len(set(every))),
  ]  # fmt: skip


def _begins(number: int) -> list[int]:
  """Returns where so many windows begin."""
  key = jax.random.key(0)
  return epochs.windows(key, 0, number, 'train', SIZE, SPAN).tolist()


def one_hot(mixers: Mixers) -> list[dict]:
  """Reads a batch of text, and compares one-hot vectors with an embedding."""
  del mixers
  task = Text(level='byte', length=4)
  batch = task.batch(jax.random.key(0), 0, 32)
  vectors = specs.one_hot(task.input, batch.inputs, np.float32)
  layer = specs.embedding(task.input, 28)
  variables = layer.init(jax.random.key(0), batch.inputs)
  looked_up = layer.apply(variables, batch.inputs)
  product = np.eye(256, dtype=np.float32)[batch.inputs] @ np.asarray(
    variables['params']['embedding']
  )
  shapes = {
    'one-hot inputs': (vectors.shape, (32, 4, 256)),
    'labels': (batch.targets.shape, (32, 4)),
    'embedded inputs': (looked_up.shape, (32, 4, 28)),
  }
  rows = [
    check('size of an axis', name, 32, expected, got)
    for name, pair in shapes.items()
    for got, expected in zip(*pair, strict=True)
  ]
  return rows + [
    check('one-hot vectors minus rows of the identity', 'bytes', 32, 0,
          furthest(vectors, np.eye(256)[batch.inputs])),
    check('one-hot vectors times W, minus the embedding', 'bytes', 32, 0,
          furthest(product, looked_up)),
    check('labels minus the inputs one position later', 'bytes', 32, 0,
          furthest(batch.targets[:, :-1], batch.inputs[:, 1:])),
  ]  # fmt: skip
