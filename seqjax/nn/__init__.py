"""Flax Linen layers: parameters around the formulas of `seqjax.ops`.

`seqjax.nn.nnx` has them as NNX modules; it is imported when it is first used.
"""

import importlib
from typing import Any

from seqjax.nn import catalog
from seqjax.nn.attention import AttentionCarry, SelfAttention
from seqjax.nn.catalog import *  # noqa: F403  the class of every entry
from seqjax.nn.cross_attention import CrossAttention, Memory
from seqjax.nn.flax_weights import from_flax, to_flax, to_flax_nnx
from seqjax.nn.initial_carry import InitialCarry
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
from seqjax.nn.official_weights import (
  mamba2_from_official,
  mamba2_to_official,
  rglru_from_official,
  rglru_to_official,
)
from seqjax.nn.recurrent_layers import RecurrentLayers
from seqjax.nn.torch_weights import from_torch, to_torch

__all__ = [
  'AttentionCarry',
  'CausalMixer',
  'CrossAttention',
  'InitialCarry',
  'Memory',
  'RecurrentLayers',
  'SelfAttention',
  'SequenceLayer',
  'SequenceMixer',
  'StreamingLayer',
  'can_stream',
  'carry_dtype',
  'from_flax',
  'from_torch',
  'mamba2_from_official',
  'mamba2_to_official',
  'rglru_from_official',
  'rglru_to_official',
  'select_rows',
  'state_floats',
  'to_flax',
  'to_flax_nnx',
  'to_torch',
]
__all__ += catalog.__all__


def __getattr__(name: str) -> Any:
  """Imports `nnx`, which takes long, when it is first used."""
  if name == 'nnx':
    return importlib.import_module('seqjax.nn.nnx')
  raise AttributeError(f'seqjax.nn has no {name!r}.')
