"""Names for the mixers: MIXERS[name](features, context, **options).

And a table of what each costs, holds and sees.

Example:
  >>> import jax
  >>> from seqjax.nn import MIXERS
  >>> mixer = MIXERS['gru'](features=8)
  >>> x = jax.random.normal(jax.random.key(0), (2, 5, 8))
  >>> variables = mixer.init(jax.random.key(1), x)
  >>> carry, y = mixer.apply(
  ...   variables, mixer.initialize_carry(2), x, method='unroll'
  ... )
  >>> y.shape
  (2, 5, 8)
"""

from typing import NamedTuple

from seqjax.errors import Catalog
from seqjax.nn.attention import (
  Attention,
  ForgettingAttention,
  FullAttention,
  LocalAttention,
)
from seqjax.nn.bidirectional import Bidirectional
from seqjax.nn.convolution import TCN, GatedConv, WindowMLP
from seqjax.nn.delta_net import KDA, DeltaNet, DeltaProduct, GatedDeltaNet
from seqjax.nn.linear_attention import GLA, LinearAttention, Retention
from seqjax.nn.linear_rnn import LRU, RGLRU, MinGRU, MinLSTM
from seqjax.nn.mamba import Mamba, Mamba2
from seqjax.nn.mixer import SequenceMixer, state_floats
from seqjax.nn.mlstm import MLSTM
from seqjax.nn.oscillators import LinOSS
from seqjax.nn.rnn import GRU, LSTM, SLSTM, Elman
from seqjax.nn.rwkv import RWKV7
from seqjax.nn.state_space import S4D, S5

# Exported by `seqjax.nn`: the class of every entry.
__all__ = [
  'MIXERS',
  'NONCAUSAL_MIXERS',
  'Attention',
  'Bidirectional',
  'DeltaNet',
  'DeltaProduct',
  'Elman',
  'ForgettingAttention',
  'FullAttention',
  'GLA',
  'GRU',
  'GatedConv',
  'GatedDeltaNet',
  'KDA',
  'LRU',
  'LSTM',
  'LinOSS',
  'LinearAttention',
  'LocalAttention',
  'MLSTM',
  'Mamba',
  'Mamba2',
  'MinGRU',
  'MinLSTM',
  'RGLRU',
  'RWKV7',
  'Retention',
  'S4D',
  'S5',
  'SLSTM',
  'TCN',
  'WindowMLP',
]

FEATURES, CONTEXT = 64, 1024  # for which the table counts carries and reach

HEADER = (
  'mixer',
  'source',
  'carry, floats',
  'training',
  'decoding',
  'parallel over time',
  'sees',
)


class Entry(NamedTuple):
  """A mixer, and facts that cannot be derived from its class.

  Attributes:
    mixer: the class, called as mixer(features, context, **options).
    source: authors and year of what its docstring cites.
    training: multiplications over T positions, in order of magnitude.
    decoding: those for one more position.
    parallel: 'yes' where sequential steps can be fewer than positions, 'by
      Newton' where their number depends on the weights and the data.
  """

  mixer: type[SequenceMixer]
  source: str
  training: str
  decoding: str
  parallel: str


CAUSAL = {
  # Recurrent, nonlinear.
  'elman': Entry(Elman, 'Elman, 1990', 'T D²', 'D²', 'by Newton'),
  'gru': Entry(GRU, 'Cho et al., 2014', 'T D²', 'D²', 'by Newton'),
  'lstm': Entry(
    LSTM, 'Hochreiter & Schmidhuber, 1997', 'T D²', 'D²', 'by Newton'
  ),
  'slstm': Entry(SLSTM, 'Beck et al., 2024', 'T D²', 'D²', 'by Newton'),
  # Linear in a vector.
  'mingru': Entry(MinGRU, 'Feng et al., 2024', 'T D²', 'D²', 'yes'),
  'minlstm': Entry(MinLSTM, 'Feng et al., 2024', 'T D²', 'D²', 'yes'),
  'lru': Entry(LRU, 'Orvieto et al., 2023', 'T D N', 'D N', 'yes'),
  's4d': Entry(S4D, 'Gu et al., 2022', 'T D N', 'D N', 'yes'),
  's5': Entry(S5, 'Smith et al., 2023', 'T D N', 'D N', 'yes'),
  'linoss': Entry(LinOSS, 'Rusch & Rus, 2025', 'T D N', 'D N', 'yes'),
  'rglru': Entry(RGLRU, 'De et al., 2024', 'T D²', 'D²', 'yes'),
  'mamba': Entry(Mamba, 'Gu & Dao, 2024', 'T D (D + N)', 'D (D + N)', 'yes'),
  # Linear in a matrix.
  'linear_attention': Entry(
    LinearAttention,
    'Katharopoulos et al., 2020',
    'T D (D + K)',
    'D (D + K)',
    'yes',
  ),
  'retention': Entry(
    Retention, 'Sun et al., 2023', 'T D (D + K)', 'D (D + K)', 'yes'
  ),
  'gla': Entry(GLA, 'Yang et al., 2024', 'T D (D + K)', 'D (D + K)', 'yes'),
  'mamba2': Entry(Mamba2, 'Dao & Gu, 2024', 'T D (D + N)', 'D (D + N)', 'yes'),
  'mlstm': Entry(MLSTM, 'Beck et al., 2024', 'T D (D + K)', 'D (D + K)', 'yes'),
  'deltanet': Entry(
    DeltaNet, 'Yang et al., 2024', 'T D (D + K)', 'D (D + K)', 'yes'
  ),
  'gated_deltanet': Entry(
    GatedDeltaNet, 'Yang et al., 2025', 'T D (D + K)', 'D (D + K)', 'yes'
  ),
  'deltaproduct': Entry(
    DeltaProduct, 'Siems et al., 2025', 'T D P (D + K)', 'D P (D + K)', 'yes'
  ),
  'kda': Entry(KDA, 'Kimi Team, 2025', 'T D (D + K)', 'D (D + K)', 'yes'),
  'rwkv7': Entry(RWKV7, 'Peng et al., 2025', 'T D (D + K)', 'D (D + K)', 'yes'),
  # Attention.
  'attention': Entry(
    Attention, 'Vaswani et al., 2017', 'T D (D + T)', 'D (D + C)', 'yes'
  ),
  'local_attention': Entry(
    LocalAttention, 'Beltagy et al., 2020', 'T D (D + W)', 'D (D + W)', 'yes'
  ),
  'forgetting_attention': Entry(
    ForgettingAttention, 'Lin et al., 2025', 'T D (D + T)', 'D (D + C)', 'yes'
  ),
  # Convolutions and windows.
  'tcn': Entry(TCN, 'Bai et al., 2018', 'T D² L W', 'D² L W', 'yes'),
  'gated_conv': Entry(
    GatedConv, 'Poli et al., 2023', 'T D (D + W)', 'D (D + W)', 'yes'
  ),
  'window_mlp': Entry(
    WindowMLP, 'Bengio et al., 2003', 'T D² W', 'D² W', 'yes'
  ),
}

NONCAUSAL = {
  'bidirectional': Entry(
    Bidirectional, 'Schuster & Paliwal, 1997', 'its mixer', '-', 'its mixer'
  ),
  'full_attention': Entry(
    FullAttention, 'Vaswani et al., 2017', 'T D (D + T)', '-', 'yes'
  ),
}


def _classes(entries: dict[str, Entry]) -> Catalog:
  return Catalog(
    'mixer', {name: entry.mixer for name, entry in entries.items()}
  )


MIXERS, NONCAUSAL_MIXERS = _classes(CAUSAL), _classes(NONCAUSAL)


def table() -> list[tuple[str, ...]]:
  """Returns HEADER, and a row for every entry of the catalogues."""
  causal = [_row(name, *_streaming(name)) for name in MIXERS]
  whole = [_row(name, '-', 'all') for name in NONCAUSAL_MIXERS]
  return [HEADER, *causal, *whole]


def markdown() -> str:
  """Returns the table as Markdown."""
  header, *rows = table()
  lines = [header, ('---',) * len(header), *rows]
  return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def _row(name, floats, sees):
  entry = (CAUSAL | NONCAUSAL)[name]
  return (
    f'`{name}`',
    entry.source,
    floats,
    entry.training,
    entry.decoding,
    entry.parallel,
    sees,
  )


def _streaming(name):
  """Counts the floats of the carry, and the positions that an output sees."""
  mixer = MIXERS[name](FEATURES, CONTEXT)
  reach = mixer.receptive_field
  sees = 'all' if reach is None else f'the last {reach:,}'
  return f'{state_floats(mixer):,}', sees
