"""Flax Linen layers: parameters around the formulas of `seqjax.ops`."""

from seqjax.nn.attention import (
  Attention,
  AttentionCarry,
  FullAttention,
  LocalAttention,
  SelfAttention,
)
from seqjax.nn.bidirectional import Bidirectional
from seqjax.nn.catalog import MIXERS, NONCAUSAL_MIXERS
from seqjax.nn.convolution import TCN, GatedConv, WindowMLP
from seqjax.nn.cross_attention import CrossAttention, Memory
from seqjax.nn.delta_net import DeltaNet, GatedDeltaNet
from seqjax.nn.flax_cells import from_flax, to_flax
from seqjax.nn.linear_attention import GLA, LinearAttention, Retention
from seqjax.nn.linear_rnn import LRU, RGLRU, MinGRU, MinLSTM
from seqjax.nn.mamba import Mamba, Mamba2
from seqjax.nn.mixer import (
  CausalMixer,
  SequenceLayer,
  SequenceMixer,
  StreamingLayer,
  can_stream,
  carry_dtype,
  select_rows,
  state_floats,
)
from seqjax.nn.mlstm import MLSTM
from seqjax.nn.rnn import GRU, LSTM, SLSTM, Elman
from seqjax.nn.state_space import S4D, S5

__all__ = [
  'Attention',
  'AttentionCarry',
  'Bidirectional',
  'CrossAttention',
  'DeltaNet',
  'Elman',
  'GLA',
  'GatedDeltaNet',
  'LinearAttention',
  'MLSTM',
  'Mamba2',
  'Retention',
  'FullAttention',
  'GRU',
  'GatedConv',
  'LRU',
  'LSTM',
  'LocalAttention',
  'MIXERS',
  'Mamba',
  'Memory',
  'MinGRU',
  'MinLSTM',
  'NONCAUSAL_MIXERS',
  'RGLRU',
  'S4D',
  'S5',
  'SLSTM',
  'SelfAttention',
  'TCN',
  'WindowMLP',
  'from_flax',
  'to_flax',
  'CausalMixer',
  'SequenceLayer',
  'SequenceMixer',
  'StreamingLayer',
  'can_stream',
  'carry_dtype',
  'select_rows',
  'state_floats',
]
