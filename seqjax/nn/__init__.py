"""Flax Linen layers: parameters around the formulas of `seqjax.ops`.

`seqjax.nn.nnx` has them as NNX modules; it is imported when it is first used.
"""

import importlib
from typing import Any

from seqjax.nn import catalog
from seqjax.nn.attention import AttentionCarry, SelfAttention
from seqjax.nn.catalog import *  # noqa: F403  the class of every entry
from seqjax.nn.cross_attention import CrossAttention, Memory
from seqjax.nn.flax_cells import from_flax, to_flax
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

__all__ = [
  'AttentionCarry',
  'CausalMixer',
  'CrossAttention',
  'Memory',
  'SelfAttention',
  'SequenceLayer',
  'SequenceMixer',
  'StreamingLayer',
  'can_stream',
  'carry_dtype',
  'from_flax',
  'select_rows',
  'state_floats',
  'to_flax',
]
__all__ += catalog.__all__


def __getattr__(name: str) -> Any:
  """Imports `nnx`, which takes long, when it is first used."""
  if name == 'nnx':
    return importlib.import_module('seqjax.nn.nnx')
  raise AttributeError(f'seqjax.nn has no {name!r}.')
