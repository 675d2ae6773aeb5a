"""Bugs planted in real mixers, each caught by the law that it breaks."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import pytest

import seqjax.nn.attention
import seqjax.nn.bidirectional
import seqjax.nn.convolution
import seqjax.nn.linear_rnn
import seqjax.nn.rnn
import seqjax.ops.convolution
import seqjax.ops.recurrence
from seqjax import testing
from seqjax.nn import (
  GRU,
  LSTM,
  MIXERS,
  TCN,
  Attention,
  Bidirectional,
  Mamba2,
  MinGRU,
)
from seqjax.ops import segments as segments_lib
from seqjax.ops.attention import attention
from seqjax.ops.convolution import causal_convolution
from seqjax.ops.cotangents import change_cotangents
from seqjax.ops.segments import positions
from seqjax.typing import Segments


def with_segments(change: Callable) -> Callable:
  """Plants a bug in what `unroll` takes its segments to be."""

  def plant(mixer, monkeypatch):
    class Buggy(mixer):
      def unroll(self, carry, x, segments=None):
        wrong = None if segments is None else change(segments)
        x = segments_lib.zero_padding(x, segments)
        carry, y = super().unroll(carry, x, wrong)
        return carry, segments_lib.zero_padding(y, segments)

    return Buggy(8, 16)

  return plant


def with_unroll(change: Callable) -> Callable:
  """Plants a bug around `unroll`."""

  def plant(mixer, monkeypatch):
    class Buggy(mixer):
      def unroll(self, carry, x, segments=None):
        return change(self, super().unroll, carry, x, segments)

    return Buggy(8, 16)

  return plant


def with_patch(monkeypatch_target: str, function: Callable) -> Callable:
  """Plants a bug in a function that a real mixer calls."""

  def plant(mixer, monkeypatch):
    monkeypatch.setattr(monkeypatch_target, function)
    return mixer(8, 16)

  return plant


def no_starts(s: Segments) -> Segments:
  return s._replace(start=jnp.zeros_like(s.start))


def padding_counts(s: Segments) -> Segments:
  return s._replace(valid=jnp.ones_like(s.valid))


def restart_after_padding(s: Segments) -> Segments:
  before = jnp.pad(s.valid, ((0, 0), (1, 0)), constant_values=True)[:, :-1]
  return s._replace(start=s.start | (s.valid & ~before))


def starts_only_where_valid(s: Segments) -> Segments:
  return s._replace(start=s.start & s.valid)


def forget_the_carry(self, unroll, carry, x, segments):
  return unroll(self.initialize_carry(x.shape[0]), x, segments)


def carry_from_a_pad(self, unroll, carry, x, segments):
  if segments is None:
    return unroll(carry, x)
  x = segments_lib.zero_padding(x, segments)
  wrong, _ = unroll(carry, x, padding_counts(segments))
  return wrong, unroll(carry, x, segments)[1]


def restart_to_the_carry_given(self, unroll, carry, x, segments):
  """Every piece begins where the first one did."""
  if segments is None:
    return unroll(carry, x)
  after, y = unroll(carry, x, segments)
  again, z = unroll(carry, x, no_starts(segments))
  begins = segments.start[:, 0]
  y = jnp.where(begins[:, None, None], z, y)
  return seqjax.nn.select_rows(begins, again, after), y


def nan_reaches_gradients(weights, carry, x, segments=None, *, algorithm):
  """Masks the outputs and the state, but not what they are computed from."""

  def body(state, inputs):
    x_t, start, valid = inputs
    state = jnp.where(start[:, None], 0.0, state)
    new = seqjax.ops.recurrence.gru_step(weights, state, x_t)
    state = jnp.where(valid[:, None], new, state)
    return state, state

  valid = jnp.ones(x.shape[:2], bool)
  segments = segments or Segments(~valid, valid)
  inputs = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), (x, *segments))
  carry, states = jax.lax.scan(body, carry, inputs)
  states = jnp.swapaxes(states, 0, 1)
  return carry, segments_lib.zero_padding(states, segments)


def clear_by_a_product(state, start):
  """Multiplies by zero at starts, which keeps NaN and infinity."""
  if start is None:
    return state
  start = jax.lax.expand_dims(start, range(start.ndim, state.ndim))
  return state * (1 - start.astype(state.dtype))


def accumulate_in_bfloat16(carry, decay, drive, segments=None, *, algorithm):
  low = jnp.bfloat16
  state, states = seqjax.ops.linear_recurrence.linear_recurrence(
    carry.astype(low), decay, drive, segments, algorithm=algorithm
  )
  return state, states


def changed_attention(**changes: Callable) -> Callable:
  """`attention` with some of its arguments changed."""

  def buggy(query, key, value, **arguments):
    arguments |= {n: f(arguments.get(n)) for n, f in changes.items()}
    return attention(query, key, value, **arguments)

  return buggy


def cache_ignores_pieces(self, unroll, carry, x, segments):
  after, y = unroll(carry, x, segments)
  if segments is None:
    return after, y
  stale = segments.start[:, 0] & ~jnp.any(segments.start[:, 1:], axis=1)
  old, _ = unroll(carry, x, segments._replace(start=segments.start & False))
  keys = seqjax.nn.select_rows(stale, old.keys, after.keys)
  return after._replace(keys=keys), y


def positions_count_padding(count, segments, num_positions):
  if segments is not None:
    segments = padding_counts(segments)
  return positions(count, segments, num_positions)


def positions_begin_with_the_chunk(self, unroll, carry, x, segments):
  zero = jnp.zeros_like(carry.count)
  return unroll(carry._replace(count=zero), x, segments)


def attention_of_calls_without_window(query, key, value, **arguments):
  """A call attends to its own inputs, where unroll has a cache beside them."""
  if query.shape[1] == key.shape[1]:
    arguments['window'] = None
  return attention(query, key, value, **arguments)


def padding_in_a_residual(self, call, x, segments):
  """Adds nothing of x, and with it whatever the padding holds."""
  return call(x, segments) + 0.0 * x


def with_call(change: Callable) -> Callable:
  """Plants a bug around calls of whole sequences."""

  def plant(mixer, monkeypatch):
    class Buggy(mixer):
      def __call__(self, x, segments=None):
        return change(self, super().__call__, x, segments)

    return Buggy(8, 16)

  return plant


def window_overlooked_without_segments(window, x, kernel, segments, dilation):
  if segments is None:
    window = jnp.zeros_like(window)
  return causal_convolution(window, x, kernel, segments, dilation=dilation)


def changed_convolution(change: Callable) -> Callable:
  """`causal_convolution` on inputs of which one thing is wrong."""

  def buggy(window, x, kernel, segments=None, *, dilation=1):
    return change(window, x, kernel, segments, dilation)

  return buggy


def taps_count_padding(window, x, kernel, segments, dilation):
  if segments is not None:
    x = segments_lib.zero_padding(x, segments)
    segments = padding_counts(segments)
  return causal_convolution(window, x, kernel, segments, dilation=dilation)


def taps_cross_pieces(window, x, kernel, segments, dilation):
  wrong = None if segments is None else no_starts(segments)
  after, _ = causal_convolution(window, x, kernel, segments, dilation=dilation)
  _, y = causal_convolution(window, x, kernel, wrong, dilation=dilation)
  return after, y


def taps_see_the_future(window, x, kernel, segments, dilation):
  after, _ = causal_convolution(window, x, kernel, segments, dilation=dilation)
  ahead = jnp.concatenate([x[:, 1:], x[:, :1]], axis=1)
  _, y = causal_convolution(window, ahead, kernel, segments, dilation=dilation)
  return after, y


def window_ends_with_padding(window, x, kernel, segments, dilation):
  _, y = causal_convolution(window, x, kernel, segments, dilation=dilation)
  x = segments_lib.zero_padding(x, segments).astype(window.dtype)
  seen = jnp.concatenate([window, x], axis=1)
  return seen[:, x.shape[1] :], y


def window_is_forgotten(window, x, kernel, segments, dilation):
  empty = jnp.zeros_like(window)
  return causal_convolution(empty, x, kernel, segments, dilation=dilation)


def window_is_one_short(window, x, kernel, segments, dilation):
  short = window.at[:, :1].set(0)
  return causal_convolution(short, x, kernel, segments, dilation=dilation)


def cotangents_as_they_are(arrays, *_):
  return arrays


def cotangents_left_out(arrays, change, *constants):
  """Replaces them by zero, and does not put NaN back."""
  return arrays if constants else change_cotangents(arrays, change)


BUGS = {
  # In recurrences.
  'state leaks across pieces': (
    GRU, with_segments(no_starts), testing.PACKING),
  'padding advances the state': (
    LSTM, with_segments(padding_counts), testing.PADDING),
  'false restart at 1 0 1': (
    GRU, with_segments(restart_after_padding), testing.PADDING),
  'a start at padding is overlooked': (
    LSTM, with_segments(starts_only_where_valid), testing.UNROLL),
  'a cut forgets the carry': (
    LSTM, with_unroll(forget_the_carry), testing.CUTTING),
  'the last carry is taken from a pad': (
    GRU, with_unroll(carry_from_a_pad), testing.PADDING),
  'a restart goes to the carry that was given': (
    GRU, with_unroll(restart_to_the_carry_given), testing.CUTTING),
  'NaN in the padding reaches a gradient': (
    GRU,
    with_patch('seqjax.ops.recurrence.gru', nan_reaches_gradients),
    testing.PADDING),
  'a state is accumulated in bfloat16': (
    MinGRU,
    with_patch(
      'seqjax.nn.linear_rnn.linear_recurrence', accumulate_in_bfloat16),
    testing.STRUCTURE),
  'a start multiplies the state by zero': (
    MinGRU,
    with_patch('seqjax.ops.linear_recurrence.clear', clear_by_a_product),
    testing.NOT_FINITE),
  'a gradient of NaN is multiplied by the zeros of a mask': (
    Mamba2,
    with_patch('seqjax.ops.finite.change_cotangents', cotangents_as_they_are),
    testing.NOT_FINITE),
  'a gradient of NaN is left out': (
    Attention,
    with_patch('seqjax.ops.attention.change_cotangents', cotangents_left_out),
    testing.NOT_FINITE),
  # In attention.
  'the mask is off by one towards the future': (
    Attention,
    with_patch(
      'seqjax.ops.attention.attention',
      changed_attention(
        query_positions=lambda p: None if p is None else p + 1,
        window=lambda w: w and w + 1)),
    testing.CAUSALITY),
  'the window is off by one': (
    Attention,
    with_patch(
      'seqjax.ops.attention.attention',
      changed_attention(window=lambda w: w and w + 1)),
    testing.UNROLL),
  'pieces attend to each other': (
    Attention,
    with_patch(
      'seqjax.ops.attention.attention',
      changed_attention(query_segments=lambda s: None)),
    testing.PACKING),
  'padding is attended to': (
    Attention,
    with_patch(
      'seqjax.ops.attention.attention',
      changed_attention(
        key_segments=lambda s: s if s is None else jnp.maximum(s, 0))),
    testing.PADDING),
  'positions count padding': (
    Attention,
    with_patch('seqjax.ops.segments.positions', positions_count_padding),
    testing.PADDING),
  'positions begin anew at a cut': (
    Attention, with_unroll(positions_begin_with_the_chunk), testing.CUTTING),
  'the cache survives a restart': (
    Attention, with_unroll(cache_ignores_pieces), testing.CUTTING),
  'a call sees more than the context': (
    Attention,
    with_patch(
      'seqjax.ops.attention.attention', attention_of_calls_without_window),
    testing.CALL),
  'NaN in the padding reaches a call': (
    Attention, with_call(padding_in_a_residual), testing.CALL),
  # In convolutions.
  'without segments the window is overlooked': (
    TCN,
    with_patch(
      'seqjax.nn.convolution.causal_convolution',
      changed_convolution(window_overlooked_without_segments)),
    testing.NO_SEGMENTS),
  'taps count padding': (
    TCN,
    with_patch(
      'seqjax.nn.convolution.causal_convolution',
      changed_convolution(taps_count_padding)),
    testing.PADDING),
  'taps reach into the piece before': (
    TCN,
    with_patch(
      'seqjax.nn.convolution.causal_convolution',
      changed_convolution(taps_cross_pieces)),
    testing.PACKING),
  'taps see the future': (
    TCN,
    with_patch(
      'seqjax.nn.convolution.causal_convolution',
      changed_convolution(taps_see_the_future)),
    testing.CAUSALITY),
  'the window ends with padding': (
    TCN,
    with_patch(
      'seqjax.nn.convolution.causal_convolution',
      changed_convolution(window_ends_with_padding)),
    testing.PADDING),
  'a cut forgets the window': (
    TCN,
    with_patch(
      'seqjax.nn.convolution.causal_convolution',
      changed_convolution(window_is_forgotten)),
    testing.CUTTING),
  'the window is one short': (
    MIXERS['window_mlp'],
    with_patch(
      'seqjax.nn.convolution.causal_convolution',
      changed_convolution(window_is_one_short)),
    testing.CUTTING),
  # In a mixer that reads both ways.
  'the backward scan sees padding': (
    Bidirectional,
    with_patch('seqjax.ops.segments.reverse', lambda segments: None),
    testing.PADDING),
}  # fmt: skip


@pytest.mark.parametrize('bug', BUGS)
def test_every_planted_bug_is_caught_by_the_law_it_breaks(bug, monkeypatch):
  """The contract fails, and its message names the law."""
  mixer, plant, law = BUGS[bug]
  planted = plant(mixer, monkeypatch)
  with pytest.raises(testing.LawBroken) as caught:
    testing.assert_mixer_contract(planted)
  assert caught.value.law == law, caught.value
  assert law in str(caught.value)
