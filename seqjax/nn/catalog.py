"""Names for the mixers: MIXERS[name](features, context, **options)."""

from seqjax.nn.attention import Attention, FullAttention, LocalAttention
from seqjax.nn.bidirectional import Bidirectional
from seqjax.nn.convolution import TCN, GatedConv, WindowMLP
from seqjax.nn.delta_net import DeltaNet, GatedDeltaNet
from seqjax.nn.linear_attention import GLA, LinearAttention, Retention
from seqjax.nn.linear_rnn import LRU, RGLRU, MinGRU, MinLSTM
from seqjax.nn.mamba import Mamba, Mamba2
from seqjax.nn.mlstm import MLSTM
from seqjax.nn.rnn import GRU, LSTM, SLSTM, Elman
from seqjax.nn.state_space import S4D, S5

MIXERS = {
  # Recurrent, nonlinear.
  'elman': Elman,
  'gru': GRU,
  'lstm': LSTM,
  'slstm': SLSTM,
  # Linear in a vector.
  'mingru': MinGRU,
  'minlstm': MinLSTM,
  'lru': LRU,
  's4d': S4D,
  's5': S5,
  'rglru': RGLRU,
  'mamba': Mamba,
  # Linear in a matrix.
  'linear_attention': LinearAttention,
  'retention': Retention,
  'gla': GLA,
  'mamba2': Mamba2,
  'mlstm': MLSTM,
  'deltanet': DeltaNet,
  'gated_deltanet': GatedDeltaNet,
  # Attention.
  'attention': Attention,
  'local_attention': LocalAttention,
  # Convolutions and windows.
  'tcn': TCN,
  'gated_conv': GatedConv,
  'window_mlp': WindowMLP,
}

NONCAUSAL_MIXERS = {
  'bidirectional': Bidirectional,
  'full_attention': FullAttention,
}
