"""Names for the mixers: MIXERS[name](features, context, **options)."""

from seqjax.nn.attention import Attention
from seqjax.nn.bidirectional import Bidirectional
from seqjax.nn.convolution import TCN
from seqjax.nn.linear_rnn import MinGRU
from seqjax.nn.rnn import GRU, LSTM, Elman
from seqjax.nn.window import WindowMLP

MIXERS = {
  'elman': Elman,
  'gru': GRU,
  'lstm': LSTM,
  'mingru': MinGRU,
  'attention': Attention,
  'tcn': TCN,
  'window_mlp': WindowMLP,
}

NONCAUSAL_MIXERS = {
  'bidirectional': Bidirectional,
}
