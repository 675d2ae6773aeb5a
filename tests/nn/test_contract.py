"""Every mixer of the catalogue keeps the laws, and so do models of them."""

import functools

import pytest

from seqjax import testing
from seqjax.models import Block, SequenceModel, Stack
from seqjax.nn import (
  GRU,
  LRU,
  LSTM,
  MIXERS,
  NONCAUSAL_MIXERS,
  RGLRU,
  S4D,
  S5,
  SLSTM,
  TCN,
  Attention,
  Bidirectional,
  Elman,
  FullAttention,
  GatedConv,
  GatedDeltaNet,
  InitialCarry,
  LinOSS,
  Mamba,
  Mamba2,
  MinGRU,
  RecurrentLayers,
)
from seqjax.ops.linear_attention import delta_rule, gated_outer
from seqjax.typing import Spec


def named(cases, slow=()):
  """Parameters whose names are those of the cases."""
  return [
    pytest.param(value, id=name, marks=pytest.mark.slow if name in slow else ())
    for name, value in cases.items()
  ]


# Delta rules in the convolved layer of `deltanet`; loops of their papers, and
# the laws of their ops, are there without --slow.
SLOW_MIXERS = {'deltaproduct', 'kda'}


@pytest.mark.parametrize('mixer', named(MIXERS | NONCAUSAL_MIXERS, SLOW_MIXERS))
def test_every_mixer_keeps_the_contract(mixer):
  """Parallel equals sequential, pieces stay apart, padding does not count."""
  testing.assert_mixer_contract(mixer(features=8, context=16))


OPTIONS = {
  'elman-relu': Elman(8, activation='relu', initialization='spectral'),
  'lstm-chrono': LSTM(8, max_lag=20),
  'gru-chrono': GRU(8, max_lag=20),
  'lstm-plain': LSTM(8, algorithm='plain'),
  'slstm-exponential': SLSTM(8, forget_gate='exponential'),
  'mingru-associative': MinGRU(8, algorithm='associative'),
  'rglru-blocks': RGLRU(8, num_blocks=2),
  'lru-associative': LRU(8, algorithm='associative'),
  'lstm-narrow': LSTM(8, input_features=3),
  'slstm-narrow': SLSTM(8, input_features=3),
  's4d-bilinear': S4D(8, initialization='inv', discretization='bilinear'),
  's4d-real': S4D(8, initialization='real'),
  's5-real': S5(8, initialization='real', discretization='bilinear'),
  's5-associative': S5(8, algorithm='associative'),
  'mamba-associative': Mamba(8, algorithm='associative'),
  'linoss-imex': LinOSS(8, discretization='imex', algorithm='associative'),
  'gated_deltanet-negative': GatedDeltaNet(8, negative_eigenvalues=True),
  # The contract reads 74 positions, and learned ones end at the context.
  'attention-learned': Attention(8, 80, positions='learned'),
  'attention-without-positions': Attention(8, 16, positions='none'),
  'attention-bias': Attention(8, 16, use_bias=True),
  'attention-alibi': Attention(8, 16, positions='alibi'),
  'attention-sinusoidal': Attention(8, 16, positions='sinusoidal'),
  'attention-grouped': Attention(8, 16, num_heads=4, num_kv_heads=2),
  'attention-forget': Attention(
    8, 16, num_heads=4, num_kv_heads=2, positions='alibi', forget=True
  ),
  'gated_conv-without-taps': GatedConv(8, kernel_size=1),
  'bidirectional-tcn': Bidirectional(8, mixer=TCN(8, levels=2)),
  'full_attention-alibi': FullAttention(8, positions='alibi'),
  'full_attention-learned': FullAttention(8, 80, positions='learned'),
}


# They change an initialisation, of which the contract draws its own; an
# algorithm, which tests of its op compare; or what another entry changes alike.
SLOW_OPTIONS = {
  'lstm-chrono',
  'gru-chrono',
  'lstm-plain',
  'lru-associative',
  'linoss-imex',
  's5-associative',
  'mamba-associative',
  's5-real',
  'attention-sinusoidal',
  'attention-forget',
  'full_attention-learned',
  'bidirectional-tcn',
}


@pytest.mark.parametrize('mixer', named(OPTIONS, SLOW_OPTIONS))
def test_every_option_keeps_the_contract(mixer):
  """What an option changes, it changes in every form alike."""
  testing.assert_mixer_contract(mixer)


@pytest.mark.parametrize(
  'forget', [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_attention_in_blocks_keeps_the_contract(forget, monkeypatch):
  """Several of them, in every law, the last one not full."""
  monkeypatch.setattr('seqjax.ops.attention.BLOCK', 8)
  options = {'num_heads': 4, 'num_kv_heads': 2, 'forget': forget}
  mixer = Attention(8, 16, algorithm='blockwise', **options)
  testing.assert_mixer_contract(mixer)


@pytest.mark.parametrize(
  'mixer, op',
  [(Mamba2(8), gated_outer), (GatedDeltaNet(8), delta_rule)],
  ids=['mamba2', 'gated_deltanet'],
)
def test_matrices_in_chunks_keep_the_contract(mixer, op, monkeypatch):
  """Several of them, in every law, the last one not full."""
  recur = staticmethod(functools.partial(op, chunk=8))
  monkeypatch.setattr(type(mixer), '_recur', recur)
  testing.assert_mixer_contract(mixer)


MODELS = {
  'block': Block(GRU(8)),
  'gated': Block(GRU(8), mlp='gated'),
  'stack': Stack((GRU(8), Attention(8, 16))),
  'attention first': Stack((Attention(8, 16), MinGRU(8))),
  'tokens': SequenceModel(
    Spec((), 5), Spec((), 4), (LSTM(8), TCN(8, levels=2))
  ),
  'values': SequenceModel(
    Spec((3,)), Spec((2,)), (MinGRU(8), Attention(8, 16))
  ),
  'learned': InitialCarry(LSTM(8)),
  'layers': RecurrentLayers(
    (LSTM(6, input_features=3), GRU(8, None, input_features=6))
  ),
  'both ways': RecurrentLayers((GRU(8),), bidirectional=True),
  'encoder': SequenceModel(Spec((3,)), Spec((), 4), (Bidirectional(8),)),
}


@pytest.mark.parametrize('model', named(MODELS))
def test_every_model_keeps_the_contract(model):
  """A norm or a residual leaks padding as easily as a mixer does."""
  testing.assert_mixer_contract(model)
