"""Decodes with every mixer of the catalogue: what a token of each costs."""

import functools
from collections.abc import Mapping
from typing import Any

from experiments.peers.contestant import Contestant, Makers
from experiments.peers.decoding import WORK
from seqjax.analysis import decoding
from seqjax.nn import LSTM, MIXERS, CausalMixer


def contestants(
  work: str,
  *,
  batch_size: int,
  features: int,
  past: int,
  tokens: int,
  mixers: Mapping[str, Any] | None = None,
) -> Makers:
  """Returns what makes each mixer of the catalogue; 'seqjax' is the LSTM.

  They compute different things, so that only times are compared.
  """
  assert work == WORK
  made = {'seqjax': LSTM(features)}
  for name, make in (mixers or MIXERS).items():
    made[f'seqjax {name}'] = make(features=features, context=past + tokens)
  return {
    name: functools.partial(_mixer, mixer, batch_size, past, tokens)
    for name, mixer in made.items()
  }


def _mixer(mixer: CausalMixer, batch_size: int, past: int, tokens: int):
  """One mixer with random parameters and a random carry."""
  shapes = decoding.decoding_shapes(mixer, batch_size, tokens)

  def steps(*args):
    return decoding.decode(mixer, *args)[1]

  args = tuple(decoding.filled(shapes, past))
  return Contestant(steps, args, lambda y: {}, tokens=tokens)
