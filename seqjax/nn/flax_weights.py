"""Weights of Flax's recurrent cells and attention as ours, and back."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from seqjax.nn import weights as weights_lib
from seqjax.nn.attention import Attention, FullAttention, SelfAttention
from seqjax.nn.mixer import CausalMixer, SequenceLayer, input_width
from seqjax.nn.recurrent_layers import RecurrentLayers
from seqjax.nn.rnn import GRU, LSTM, Elman

_ACTIVATIONS = {'tanh': nn.tanh, 'relu': nn.relu}

_MIXERS = {
  nn.SimpleCell: Elman,
  nn.GRUCell: GRU,
  nn.LSTMCell: LSTM,
  nn.OptimizedLSTMCell: LSTM,
}

# Of two cells that are one mixer, the latter.
_CELLS = {mixer: cell for cell, mixer in _MIXERS.items()}

# Which of a cell's parameters stand side by side in one of the mixer's.
_LAYOUTS = {
  Elman: {
    'input': ('i/kernel',),
    'recurrent': ('h/kernel',),
    'bias': ('i/bias',),
  },
  GRU: {
    'input': ('ir/kernel', 'iz/kernel', 'in/kernel'),
    'recurrent': ('hr/kernel', 'hz/kernel', 'hn/kernel'),
    'bias': ('ir/bias', 'iz/bias', 'in/bias'),
    'candidate_bias': ('hn/bias',),
  },
  LSTM: {
    'input': ('ii/kernel', 'if/kernel', 'ig/kernel', 'io/kernel'),
    'recurrent': ('hi/kernel', 'hf/kernel', 'hg/kernel', 'ho/kernel'),
    'bias': ('hi/bias', 'hf/bias', 'hg/bias', 'ho/bias'),
  },
}


_ATTENTION_FUNCTIONS = (
  'attention_fn',
  'force_fp32_for_softmax',
  'qk_attn_weights_einsum_cls',
  'attn_weights_value_einsum_cls',
)
# What works where an option has no counterpart.
_INSTEAD = {
  'time_major': 'set it to False, and swap the first two axes of the inputs',
  'reverse': (
    'set it to False, and flip the inputs along time, or use Bidirectional'
  ),
  'carry_init': 'leave it out, and pass a carry to unroll, or use InitialCarry',
  'residual': 'set it to False, and put the mixer into models.Block',
  'gate_fn': 'write a mixer with this function (docs/protocol.md)',
  'activation_fn': 'write a mixer with this function (docs/protocol.md)',
  'normalize_qk': 'set it to False and train anew',
  'decode': 'set it to False; Attention streams by its own carry',
}
_OURS = 'seqjax.nn.nnx.from_linen makes an NNX module of seqjax of any layer'


def from_flax(
  module: Any,
  variables: Mapping[str, Any] | None = None,
  *,
  causal: bool = False,
  context: int | None = None,
) -> tuple[SequenceLayer, dict[str, Any]]:
  """Returns the layer that computes what one of Flax does, and its variables.

  | Linen or NNX                        | here                        |
  |-------------------------------------|-----------------------------|
  | SimpleCell, GRUCell, LSTMCell,      | Elman, GRU, LSTM            |
  | OptimizedLSTMCell, an RNN of one    |                             |
  | Bidirectional of two such RNNs      | RecurrentLayers, both ways  |
  | MultiHeadDotProductAttention, or    | FullAttention, or Attention |
  | nnx.MultiHeadAttention of one input |                             |

  Args:
    module: a Linen module, or an NNX module, which holds its weights.
    variables: of a Linen module, what its `init` returns.
    causal: of attention, whether it is always called with a causal mask.
    context: of causal attention, that of `Attention`.

  Raises:
    ValueError: the module is of another kind or has options that no layer here
      has, or a parameter is missing, unknown or of the wrong shape.

  Example:
    >>> import flax.linen
    >>> import jax
    >>> from seqjax.nn import from_flax
    >>> x = jax.numpy.ones((2, 5, 3))
    >>> theirs = flax.linen.RNN(flax.linen.GRUCell(8))
    >>> variables = theirs.init(jax.random.key(0), x)
    >>> mixer, variables = from_flax(theirs, variables)
    >>> mixer.apply(variables, x).shape
    (2, 5, 8)
  """
  if _is_nnx(module):
    from seqjax.nn import nnx_weights  # of those who have imported NNX

    if variables is not None:
      raise ValueError(
        'from_flax reads the weights that an NNX module holds, but variables '
        'were given, too; leave them out.'
      )
    module, variables = nnx_weights.as_linen(module)
  elif variables is None:
    raise ValueError(
      'from_flax needs the variables of a Linen module, which are what its '
      f'`init` returns, but none were given with a {type(module).__name__}.'
    )
  if isinstance(module, nn.MultiHeadDotProductAttention):
    return _attention(module, variables, causal, context)
  if causal or context is not None:
    raise ValueError(
      'from_flax takes causal and context for attention, but they were given '
      f'with a {type(module).__name__}; leave them out.'
    )
  if isinstance(module, nn.Bidirectional):
    return _both_ways(module, variables)
  return _one_way(module, variables)


def to_flax(
  mixer: SequenceLayer, variables: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Any]]:
  """Returns the Linen module that computes what a layer does, and variables.

  `to_flax_nnx` returns a module of NNX.

  Args:
    mixer: an Elman, a GRU or an LSTM, which becomes an `nn.RNN` (of an
      `OptimizedLSTMCell`); one layer of RecurrentLayers, an `nn.RNN` or an
      `nn.Bidirectional`; or attention without positions, a
      `MultiHeadDotProductAttention`, to be called with a causal mask if the
      layer is `Attention`.
    variables: what its `init` returns.

  Raises:
    ValueError: the layer is of another kind, or a parameter is missing, unknown
      or of the wrong shape.
  """
  if isinstance(mixer, SelfAttention):
    return _to_attention(mixer, variables)
  if not isinstance(mixer, RecurrentLayers):
    return _to_rnn(mixer, variables)
  if len(mixer.mixers) > 1:
    raise ValueError(
      'Flax has recurrent layers one by one, but RecurrentLayers of '
      f'{len(mixer.mixers)} were given; convert each layer.'
    )
  (one,) = mixer.mixers
  params = _params(variables)
  ways = {
    way: _to_rnn(one, {'params': params.get(f'{way}_0', {})})
    for way in ('forward', 'backward')[: 2 if mixer.bidirectional else 1]
  }
  if not mixer.bidirectional:
    return ways['forward']
  both = nn.Bidirectional(*(rnn for rnn, _ in ways.values()))
  params = {f'{way}_rnn': found['params'] for way, (_, found) in ways.items()}
  return both, {'params': params}


def to_flax_nnx(mixer: SequenceLayer, variables: Mapping[str, Any]) -> Any:
  """Returns the module of NNX that computes what a layer does.

  | here                          | NNX                                       |
  |-------------------------------|-------------------------------------------|
  | Elman, GRU, LSTM              | RNN of a SimpleCell, a GRUCell, an        |
  |                               | OptimizedLSTMCell                         |
  | RecurrentLayers of one layer  | RNN, or Bidirectional of two              |
  | Attention, FullAttention      | MultiHeadAttention, to be called with     |
  |                               | `is_causal=True` for Attention            |

  Args:
    mixer: a layer that `to_flax` takes.
    variables: what its `init` returns.

  Returns:
    The module, which holds the weights.

  Raises:
    ValueError: as by `to_flax`, or a GRU has a candidate_bias that is not zero,
      for which nnx.GRUCell has no place.

  Example:
    >>> import jax
    >>> from seqjax.nn import LSTM, to_flax_nnx
    >>> mixer, x = LSTM(8), jax.numpy.ones((2, 5, 8))
    >>> variables = mixer.init(jax.random.key(0), x)
    >>> to_flax_nnx(mixer, variables)(x).shape
    (2, 5, 8)
  """
  from seqjax.nn import nnx_weights  # takes long

  module, variables = to_flax(mixer, variables)
  return nnx_weights.as_nnx(module, variables['params'])


def _one_way(cell: Any, variables) -> tuple[CausalMixer, dict]:
  if isinstance(cell, nn.RNN):
    _refuse_options(cell, time_major=False, reverse=False)
    rnn, cell = cell, cell.cell
  else:
    if not isinstance(cell, nn.RNNCellBase):
      raise ValueError(_unknown_kind(cell))
    rnn = nn.RNN(cell)
    variables = {'params': {'cell': _params(variables)}}
  mixer = _mixer_of(cell, _params(variables))
  params = _checked_params(rnn, input_width(mixer), variables)
  converted = {
    name: jnp.concatenate([params[f'cell/{part}'] for part in parts], axis=-1)
    for name, parts in _LAYOUTS[type(mixer)].items()
  }
  return mixer, {'params': converted}


def _both_ways(module: nn.Bidirectional, variables):
  """Both RNNs become the two ways of one layer."""
  _refuse_options(module, time_major=False)
  if module.merge_fn is not nn.Bidirectional.merge_fn:
    raise ValueError(
      'Layers that are read both ways give both outputs side by side, but this '
      'Bidirectional has another merge_fn.'
    )
  params = _params(variables)
  there, back = (
    _one_way(rnn, {'params': params.get(name, {})})
    for name, rnn in (
      ('forward_rnn', module.forward_rnn),
      ('backward_rnn', module.backward_rnn),
    )
  )
  if there[0] != back[0]:
    raise ValueError(
      'Both ways of a layer have cells of one kind, size and options, but '
      f'{there[0]} and {back[0]} were given.'
    )
  params = {'forward_0': there[1]['params'], 'backward_0': back[1]['params']}
  return RecurrentLayers((there[0],), bidirectional=True), {'params': params}


def _attention(module, variables, causal: bool, context: int | None):
  """Attention whose queries, keys and values come from one input."""
  params = _params(variables)
  kernel = params.get('query', {}).get('kernel')
  if getattr(kernel, 'ndim', 0) != 3:
    raise ValueError(
      'from_flax needs the query kernel of attention, of shape [features, '
      f'heads, size], but the parameters given are {_shapes(params)}.'
    )
  features = kernel.shape[0]
  _refuse_options(module, normalize_qk=False, decode=False)
  for name in _ATTENTION_FUNCTIONS:
    if getattr(module, name) != getattr(type(module), name):
      raise ValueError(
        f'Attention here is that of softmax(q k / sqrt(K)) v, but {name}='
        f'{getattr(module, name)} was given; call such a module through '
        'flax.linen.'
      )
  for name in ('qkv_features', 'out_features'):
    if getattr(module, name) not in (None, features):
      raise ValueError(
        f'Attention here keeps its width, but {name}='
        f'{getattr(module, name)} was given for inputs of {features} features.'
      )
  if module.dropout_rate:
    raise ValueError(
      'Attention here drops no weights, but this module has dropout_rate='
      f'{module.dropout_rate}; set it to 0, and use the dropout of blocks.'
    )
  options = {
    'num_heads': module.num_heads,
    'positions': 'none',
    'use_bias': module.use_bias,
    'dtype': module.param_dtype if module.dtype is None else module.dtype,
    'param_dtype': module.param_dtype,
  }
  kind = Attention if causal else FullAttention
  layer = kind(features, context, **options)
  checked = _checked_params(layer, features, variables)
  return layer, {'params': unflatten_dict(checked, sep='/')}


def _to_attention(mixer: SelfAttention, variables):
  if mixer.positions != 'none' or mixer.num_kv_heads not in (
    None,
    mixer.num_heads,
  ):
    raise ValueError(
      'Flax has attention without positions and with as many heads of keys as '
      f'of queries, but positions={mixer.positions!r} and '
      f'num_kv_heads={mixer.num_kv_heads} were given; {_OURS}.'
    )
  if getattr(mixer, 'forget', False):
    raise ValueError(
      'Flax has attention without forget gates, but forget=True was given; '
      f'{_OURS}.'
    )
  params = _checked_params(mixer, mixer.features, variables)
  module = nn.MultiHeadDotProductAttention(
    mixer.num_heads,
    use_bias=mixer.use_bias,
    dtype=mixer.dtype,
    param_dtype=mixer.param_dtype,
  )
  return module, {'params': unflatten_dict(params, sep='/')}


def _to_rnn(mixer: SequenceLayer, variables) -> tuple[nn.RNN, dict]:
  cell = _cell_of(mixer)
  params = _checked_params(mixer, input_width(mixer), variables)
  converted = {}
  for name, parts in _LAYOUTS[type(mixer)].items():
    blocks = jnp.split(params[name], len(parts), axis=-1)
    converted |= zip(parts, blocks, strict=True)
  return nn.RNN(cell), {'params': {'cell': unflatten_dict(converted, sep='/')}}


def _is_nnx(module: Any) -> bool:
  """Returns True of NNX modules, without importing NNX."""
  return any(
    kind.__module__.startswith('flax.nnx') for kind in type(module).__mro__
  )


def _unknown_kind(given: Any) -> str:
  known = ', '.join(kind.__name__ for kind in _MIXERS)
  return (
    f'There are layers here for {known}, RNN, Bidirectional and '
    'MultiHeadDotProductAttention, of Linen or NNX, but a '
    f'{type(given).__name__} was given.'
  )


def _shapes(params: Mapping[str, Any]) -> dict[str, list[int]]:
  flat = flatten_dict(dict(params), sep='/')
  return {name: list(jnp.shape(leaf)) for name, leaf in flat.items()}


def _mixer_of(cell: nn.RNNCellBase, params: Mapping[str, Any]) -> CausalMixer:
  """Returns the mixer without its weights; their shapes say what it reads."""
  if type(cell) not in _MIXERS:
    raise ValueError(_unknown_kind(cell))
  _refuse_options(cell, carry_init=nn.initializers.zeros)
  options = {
    'dtype': cell.param_dtype if cell.dtype is None else cell.dtype,
    'param_dtype': cell.param_dtype,
  }
  first = _LAYOUTS[_MIXERS[type(cell)]]['input'][0].split('/')[0]
  kernel = params.get('cell', {}).get(first, {}).get('kernel')
  if getattr(kernel, 'ndim', 0) == 2 and kernel.shape[0] != cell.features:
    options['input_features'] = kernel.shape[0]
  if isinstance(cell, nn.SimpleCell):
    _refuse_options(cell, residual=False)
    if cell.activation_fn is nn.relu:
      return Elman(cell.features, activation='relu', **options)
  else:
    _refuse_options(cell, gate_fn=nn.sigmoid)
  _refuse_options(cell, activation_fn=nn.tanh)
  return _MIXERS[type(cell)](cell.features, **options)


def _cell_of(mixer: CausalMixer) -> nn.RNNCellBase:
  """Returns the cell without its weights."""
  if type(mixer) not in _CELLS:
    raise ValueError(
      'Flax has cells for Elman, GRU and LSTM, but a '
      f'{type(mixer).__name__} was given; {_OURS}.'
    )
  options = {'dtype': mixer.dtype, 'param_dtype': mixer.param_dtype}
  if isinstance(mixer, Elman):
    options['activation_fn'] = _ACTIVATIONS[mixer.activation]
  return _CELLS[type(mixer)](mixer.features, **options)


def _refuse_options(module: nn.Module, **supported):
  """Raises ValueError where an option is not the one that mixers have."""
  for name, value in supported.items():
    given = getattr(module, name)
    if given != value:
      raise ValueError(
        f'from_flax reads modules with {name}={value}, but this '
        f'{type(module).__name__} has {name}={given}; {_INSTEAD[name]}.'
      )


def _checked_params(
  module: nn.Module, features: int, variables: Mapping[str, Any]
) -> dict[str, jax.Array]:
  """Returns the parameters by path, which must be those that the module has.

  Raises:
    ValueError: one is missing, unknown or of the wrong shape.
  """
  x = jnp.zeros((1, 1, features))
  expected = flatten_dict(
    jax.eval_shape(module.init, jax.random.key(0), x)['params'], sep='/'
  )
  params = flatten_dict(_params(variables), sep='/')
  weights_lib.check(type(module).__name__, params, expected)
  return params


def _params(variables: Mapping[str, Any]) -> Mapping[str, Any]:
  """Returns the collection that holds the weights."""
  if 'params' not in variables:
    raise ValueError(
      "Variables must be what `init` returns, with 'params' in them, but these "
      f'have {sorted(variables)}.'
    )
  return variables['params']
