"""Flax Linen layers: parameters around the formulas of `seqjax.ops`."""

from seqjax.nn.attention import Attention, AttentionCarry
from seqjax.nn.bidirectional import Bidirectional
from seqjax.nn.catalog import MIXERS, NONCAUSAL_MIXERS
from seqjax.nn.convolution import TCN
from seqjax.nn.linear_rnn import MinGRU
from seqjax.nn.mixer import (
  CausalMixer,
  SequenceMixer,
  can_stream,
  carry_dtype,
  select_rows,
  state_floats,
)
from seqjax.nn.rnn import GRU, LSTM, Elman
from seqjax.nn.window import WindowMLP

__all__ = [
  'GRU',
  'LSTM',
  'MIXERS',
  'NONCAUSAL_MIXERS',
  'TCN',
  'Attention',
  'AttentionCarry',
  'Bidirectional',
  'CausalMixer',
  'Elman',
  'MinGRU',
  'SequenceMixer',
  'WindowMLP',
  'can_stream',
  'carry_dtype',
  'select_rows',
  'state_floats',
]
