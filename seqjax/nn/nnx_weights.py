"""Weights of NNX's recurrent cells and attention as Linen's, and back."""

import inspect
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.traverse_util import flatten_dict

_CELLS = {
  nnx.SimpleCell: nn.SimpleCell,
  nnx.GRUCell: nn.GRUCell,
  nnx.LSTMCell: nn.LSTMCell,
  nnx.OptimizedLSTMCell: nn.OptimizedLSTMCell,
}
_NNX_CELLS = {linen: cell for cell, linen in _CELLS.items()}
# The blocks of a joined kernel, as Linen names them after i or h.
_GATES = {
  nnx.SimpleCell: ('',),
  nnx.GRUCell: ('r', 'z', 'n'),
  nnx.OptimizedLSTMCell: ('i', 'f', 'g', 'o'),
}
_SHARED = ('dtype', 'param_dtype', 'activation_fn')


def as_linen(module: nnx.Module) -> tuple[nn.Module, dict[str, Any]]:
  """Returns the Linen module that computes the same, and its variables.

  Raises:
    ValueError: it is none of NNX's recurrent cells, RNN, Bidirectional or
      MultiHeadAttention.
  """
  if type(module) in _CELLS:
    return _cell(module), {'params': _cell_params(module)}
  if type(module) is nnx.RNN:
    cell, variables = as_linen(module.cell)
    options = {n: getattr(module, n) for n in ('time_major', 'reverse')}
    return nn.RNN(cell, **options), {'params': {'cell': variables['params']}}
  if type(module) is nnx.Bidirectional:
    return _both_ways(module)
  if type(module) is nnx.MultiHeadAttention:
    return _attention(module)
  if hasattr(module, 'to_linen'):
    raise ValueError(
      f'from_flax reads modules of Flax, but {type(module).__name__} of seqjax '
      'was given; its to_linen() gives the layer and its variables.'
    )
  known = ', '.join(kind.__name__ for kind in _CELLS)
  raise ValueError(
    f'There are layers here for {known}, RNN, Bidirectional and '
    f'MultiHeadAttention of NNX, but a {type(module).__name__} was given.'
  )


def _cell(cell: nnx.RNNCellBase) -> nn.RNNCellBase:
  options = {name: getattr(cell, name) for name in _SHARED}
  if type(cell) is nnx.SimpleCell:
    options['residual'] = cell.residual
  else:
    options['gate_fn'] = cell.gate_fn
  if cell.carry_init is not None:
    options['carry_init'] = cell.carry_init
  return _CELLS[type(cell)](cell.hidden_features, **options)


def _cell_params(cell: nnx.RNNCellBase) -> dict[str, Any]:
  if type(cell) is nnx.LSTMCell:
    names = [source + gate for source in 'ih' for gate in 'ifgo']
    return {n: _dense(getattr(cell, 'if_' if n == 'if' else n)) for n in names}
  params = {}
  for source, dense in (('i', cell.dense_i), ('h', cell.dense_h)):
    gates = _GATES[type(cell)]
    blocks = {
      name: jnp.split(array, len(gates), axis=-1)
      for name, array in _dense(dense).items()
    }
    for place, gate in enumerate(gates):
      params[source + gate] = {n: parts[place] for n, parts in blocks.items()}
  if type(cell) is nnx.GRUCell:  # Linen has a bias inside the reset gate
    bias = params['hn']['kernel']
    params['hn'].setdefault('bias', jnp.zeros(bias.shape[-1:], bias.dtype))
  return params


def _both_ways(module: nnx.Bidirectional):
  there, back = map(as_linen, (module.forward_rnn, module.backward_rnn))
  options = {'time_major': module.time_major}
  if module.merge_fn is not nnx.Bidirectional.merge_fn:
    options['merge_fn'] = module.merge_fn
  params = {
    'forward_rnn': there[1]['params'],
    'backward_rnn': back[1]['params'],
  }
  return nn.Bidirectional(there[0], back[0], **options), {'params': params}


def _attention(module: nnx.MultiHeadAttention):
  known = inspect.signature(nnx.MultiHeadAttention.__init__).parameters
  if module.attention_fn is not known['attention_fn'].default:
    raise ValueError(
      'Attention here is that of softmax(q k / sqrt(K)) v, but attention_fn='
      f'{module.attention_fn} was given; call such a module through NNX.'
    )
  if module.num_kv_heads != module.num_heads:
    raise ValueError(
      'from_flax takes attention with as many heads of keys as of queries, but '
      f'num_heads={module.num_heads} and num_kv_heads={module.num_kv_heads} '
      'were given.'
    )
  names = 'dtype', 'param_dtype', 'qkv_features', 'out_features'
  names += 'use_bias', 'dropout_rate', 'normalize_qk'
  options = {name: getattr(module, name) for name in names}
  params = {
    name: _dense(getattr(module, name))
    for name in ('query', 'key', 'value', 'out')
  }
  linen = nn.MultiHeadDotProductAttention(module.num_heads, **options)
  return linen, {'params': params}


def _dense(dense: nnx.Module) -> dict[str, Any]:
  """Returns the kernel, and the bias if there is one."""
  params = {'kernel': dense.kernel[...]}
  if dense.bias is not None:
    params['bias'] = dense.bias[...]
  return params


def as_nnx(module: nn.Module, params: Mapping[str, Any]) -> nnx.Module:
  """Returns the NNX module that computes what a Linen one of `to_flax` does.

  Raises:
    ValueError: NNX has no place for one of the weights.
  """
  if isinstance(module, nn.RNN):
    return nnx.RNN(_nnx_cell(module.cell, params['cell']))
  if isinstance(module, nn.Bidirectional):
    there, back = (
      as_nnx(rnn, params[name])
      for name, rnn in (
        ('forward_rnn', module.forward_rnn),
        ('backward_rnn', module.backward_rnn),
      )
    )
    return nnx.Bidirectional(there, back)
  return _nnx_attention(module, params)


def _nnx_cell(cell: nn.RNNCellBase, params: Mapping[str, Any]):
  """Returns the cell, whose kernels hold those of all gates side by side."""
  kind = _NNX_CELLS[type(cell)]
  if kind is nnx.GRUCell:
    params = params | {'hn': _without_bias(params['hn'])}
  gates = _GATES[kind]
  joined = {
    f'dense_{source}/{part}': jnp.concatenate(
      [params[source + gate][part] for gate in gates], axis=-1
    )
    for source in 'ih'
    for part in params[source + gates[0]]
  }
  inputs = joined['dense_i/kernel'].shape[0]
  options = {name: getattr(cell, name) for name in _SHARED}
  return _filled(kind, (inputs, cell.features), options, joined)


def _without_bias(dense: Mapping[str, Any]) -> dict[str, Any]:
  """Leaves out the bias inside the reset gate, which must be zero."""
  if np.any(dense['bias']):
    raise ValueError(
      'nnx.GRUCell has no bias inside its reset gate, but candidate_bias of '
      'this GRU is not zero; to_flax gives a Linen module that has one, and '
      'seqjax.nn.nnx.GRU.from_linen an NNX module of seqjax.'
    )
  return {'kernel': dense['kernel']}


def _nnx_attention(module: nn.MultiHeadDotProductAttention, params):
  features = params['query']['kernel'].shape[0]
  names = 'use_bias', 'dtype', 'param_dtype'
  options = {name: getattr(module, name) for name in names} | {'decode': False}
  sizes = module.num_heads, features
  flat = flatten_dict(dict(params), sep='/')
  return _filled(nnx.MultiHeadAttention, sizes, options, flat)


def _filled(
  kind: type[nnx.Module],
  sizes: tuple[int, int],
  options: Mapping[str, Any],
  arrays: Mapping[str, Any],
) -> nnx.Module:
  """Makes a module of arrays by path, without sampling any parameters."""
  empty = nnx.eval_shape(lambda: kind(*sizes, **options, rngs=nnx.Rngs(0)))
  graph, state = nnx.split(empty)
  for path, variable in nnx.to_flat_state(state):
    variable.set_value(jnp.asarray(arrays['/'.join(path)]))
  return nnx.merge(graph, state)
