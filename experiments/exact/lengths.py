"""Checks of lengths: which models take any, and what padding does to others."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.exact.checks import (
  CLOSE,
  CONTEXT,
  FEATURES,
  LEARNED,
  Mixers,
  accepted,
  check,
  count_parameters,
  furthest,
  jit,
  learned_positions,
  normal,
)
from seqjax.analysis import flops
from seqjax.data.corpus import read_corpus
from seqjax.models import Classifier, MLPClassifier, SequenceModel
from seqjax.ops.segments import from_lengths
from seqjax.tasks import bucketing
from seqjax.typing import Batch, Segments, Spec

POINTS, CLASSES = Spec((2,)), Spec((), vocab=3)  # (x, y) in, a class out
LENGTHS = (1, 3, 50, 5000)
SIZES = (8, 16, 32, 64, 128)  # of T_max
HIDDEN = 64  # of the MLP
COUNT = 'parameters of a model built for T_max'


def any_length(mixers: Mixers) -> list[dict]:
  """Applies one set of parameters to trajectories of several lengths."""
  rows, x = [], normal(2, max(LENGTHS), 2)
  for name, make in {**mixers, LEARNED: learned_positions}.items():
    model = SequenceModel(
      POINTS, POINTS, (make(FEATURES, CONTEXT),), expansion=0
    )
    variables = jit(model.init)(jax.random.key(0), x[:, :3])
    apply = jit(model.apply)
    for length in LENGTHS:
      y = ()
      if accepted(lambda n=length, f=apply, v=variables: f(v, x[:, :n])):
        y = apply(variables, x[:, :length])
      count = np.isfinite(y).sum()
      rows.append(
        check('finite outputs of 2 rows', name, length, 4 * length, count)
      )
    padded = jnp.full((2, 64, 2), jnp.nan).at[:, :3].set(x[:, :3])
    y = apply(variables, padded, from_lengths(np.array([3, 3]), 64))[:, :3]
    alone = apply(variables, x[:, :3])
    label = 'change of outputs by padding 3 positions with NaN'
    rows.append(check(label, name, 64, 0, furthest(alone, y), CLOSE))
  return rows


def place_of_pads(mixers: Mixers) -> list[dict]:
  """Pads 7 positions to 12 at the right with zeros, with NaN, at the left."""
  x, pads = normal(32, 7, 2), jnp.zeros((32, 5, 2))
  valid = jnp.arange(12)[None] < jnp.full((32, 1), 7)
  right = Segments(jnp.zeros_like(valid), valid)
  left = Segments(jnp.zeros_like(valid), valid[:, ::-1])
  models = {name: _classifier(make, 12) for name, make in mixers.items()}
  models['MLP'] = MLPClassifier(POINTS, CLASSES.vocab, 12, HIDDEN)
  rows = []
  for name, model in models.items():
    apply, zeros = jit(model.apply), jnp.concatenate([x, pads], 1)
    variables = jit(model.init)(jax.random.key(0), zeros, right)
    y = apply(variables, zeros, right)
    held = apply(variables, jnp.concatenate([x, pads + jnp.nan], 1), right)
    moved = apply(variables, jnp.concatenate([pads, x], 1), left)
    label = 'change of answers by NaN in place of zeros as pads'
    rows.append(check(label, name, 12, 0, furthest(y, held), CLOSE))
    if name != 'MLP':
      label = 'change of answers by pads at the left'
      rows.append(check(label, name, 12, 0, furthest(y, moved), CLOSE))
  share = (np.abs(y - moved).max(axis=1) > 0.01).mean()  # of the MLP
  label = 'share of answers that pads at the left change by more than .01'
  rows.append(check(label, 'MLP', 12, 1, share, 0.1))
  short = MLPClassifier(POINTS, CLASSES.vocab, 7, HIDDEN, truncate=True)
  variables = short.init(jax.random.key(0), x)
  ends = [
    short.apply(variables, jnp.concatenate([x, pads + n], 1)) for n in (0, 1)
  ]
  label = 'change of answers by what truncation cuts off'
  return [*rows, check(label, 'MLP', 7, 0, furthest(*ends))]


def parameters(mixers: Mixers) -> list[dict]:
  """Counts the parameters of models that are built for T_max positions."""
  rows = []
  for size in SIZES:
    model = MLPClassifier(POINTS, CLASSES.vocab, size, HIDDEN)
    by_hand = size * 2 * HIDDEN + HIDDEN + HIDDEN * 3 + 3
    rows.append(
      check(COUNT, 'MLP', size, by_hand, count_parameters(model, size, 2))
    )
    refused = not accepted(
      lambda m=model, n=size: count_parameters(m, n + 1, 2)
    )
    rows.append(check('T_max + 1 is refused', 'MLP', size, 1, refused))
  for name, make in {**mixers, LEARNED: learned_positions}.items():
    counts = [
      count_parameters(_classifier(make, size), size, 2) for size in SIZES
    ]
    for size, count in zip(SIZES, counts, strict=True):
      table = (size - SIZES[0]) * FEATURES * (name == LEARNED)
      rows.append(check(COUNT, name, size, counts[0] + table, count))
  return rows


def _classifier(make, context: int) -> Classifier:
  return Classifier(POINTS, CLASSES, (make(FEATURES, context),), expansion=0)


def useful_share(mixers: Mixers) -> list[dict]:
  """Pads, buckets and packs lines of source code; counts what is no padding."""
  corpus = read_corpus('python', 'character', '')
  text = corpus.vocabulary.decode(corpus.parts['train'].tokens[:30000])
  sizes = [len(line) for line in text.split('\n') if line]
  total, longest, count = sum(sizes), max(sizes), len(sizes)
  segments = from_lengths(np.array(sizes), longest)
  zeros = np.zeros((count, longest), np.int32)
  batch = Batch(zeros, zeros, np.array(segments.valid, np.float32), segments)
  powers = [2**i for i in range(longest.bit_length()) if 2**i < longest]
  buckets = bucketing.bucketed(batch, (*powers, longest))
  packed = bucketing.packed(batch)
  share = total / (count * longest)
  in_buckets = total / sum(part.inputs.size for part in buckets)
  in_rows = total / packed.inputs.size
  best = sum(share < other for other in (in_buckets, in_rows))
  subject = 'lines of Python'
  rows = [
    check('useful share, padded', subject, count, share,
          1 - bucketing.padding(batch), 1e-9),
    check('characters of the bucketed batches', subject, count, total,
          sum(part.segments.valid.sum() for part in buckets)),
    check('characters of the packed rows', subject, count, total,
          packed.segments.valid.sum()),
    check('more than half of the padded positions are pads', subject, count,
          1, share < 0.5),
    check('ways that are more useful: bucketed, packed', subject, count, 2,
          best),
  ]  # fmt: skip
  label = 'FLOPs of the padded over those of the packed rows'
  ratio = count / len(packed.inputs)
  for name, make in mixers.items():
    layer = make(FEATURES, longest)
    work = [_flops(layer, *b.inputs.shape) for b in (batch, packed)]
    if all(work):
      rows.append(check(label, name, count, ratio, work[0] / work[1], 1e-6))
  return rows


def _flops(layer, *leading: int) -> int | None:
  """Counts the matmul FLOPs of a layer; None where only running tells."""
  x = jax.ShapeDtypeStruct((*leading, FEATURES), jnp.float32)
  variables = jax.eval_shape(layer.init, jax.random.key(0), x)
  try:
    return flops.count(layer.apply, variables, x)
  except ValueError:
    return None
