"""Weights of Flax's recurrent cells as those of our mixers, and back."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from seqjax.nn.mixer import CausalMixer
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


def from_flax(
  cell: nn.RNN | nn.RNNCellBase, variables: Mapping[str, Any]
) -> tuple[CausalMixer, dict]:
  """Returns the mixer that computes what a Flax cell does, and its variables.

  Args:
    cell: `SimpleCell`, `GRUCell`, `LSTMCell`, `OptimizedLSTMCell`, or an
      `nn.RNN` of one.
    variables: what its `init` returns, for as many inputs as features.

  Raises:
    ValueError: the cell is of another kind or has options that no mixer has,
      or a parameter is missing, unknown or of the wrong shape.

  Example:
    >>> import flax.linen
    >>> import jax
    >>> from seqjax.nn import from_flax
    >>> x = jax.numpy.ones((2, 5, 8))
    >>> theirs = flax.linen.RNN(flax.linen.GRUCell(8))
    >>> variables = theirs.init(jax.random.key(0), x)
    >>> mixer, variables = from_flax(theirs, variables)
    >>> mixer.apply(variables, x).shape
    (2, 5, 8)
  """
  if isinstance(cell, nn.RNN):
    _refuse_options(cell, time_major=False, reverse=False)
    rnn, cell = cell, cell.cell
  else:
    rnn = nn.RNN(cell)
    variables = {'params': {'cell': _params(variables)}}
  mixer = _mixer_of(cell)
  params = _checked_params(rnn, mixer.features, variables)
  converted = {
    name: jnp.concatenate([params[f'cell/{part}'] for part in parts], axis=-1)
    for name, parts in _LAYOUTS[type(mixer)].items()
  }
  return mixer, {'params': converted}


def to_flax(
  mixer: CausalMixer, variables: Mapping[str, Any]
) -> tuple[nn.RNN, dict]:
  """Returns the `nn.RNN` that computes what a mixer does, and its variables.

  The mixer is an Elman, a GRU or an LSTM, which becomes an `OptimizedLSTMCell`.

  Raises:
    ValueError: the mixer is of another kind, or a parameter is missing,
      unknown or of the wrong shape.
  """
  cell = _cell_of(mixer)
  params = _checked_params(mixer, mixer.features, variables)
  converted = {}
  for name, parts in _LAYOUTS[type(mixer)].items():
    blocks = jnp.split(params[name], len(parts), axis=-1)
    converted |= zip(parts, blocks, strict=True)
  return nn.RNN(cell), {'params': {'cell': unflatten_dict(converted, sep='/')}}


def _mixer_of(cell: nn.RNNCellBase) -> CausalMixer:
  """Returns the mixer without its weights."""
  if type(cell) not in _MIXERS:
    known = ', '.join(kind.__name__ for kind in _MIXERS)
    raise ValueError(
      f'There are mixers for {known}, but a {type(cell).__name__} was given.'
    )
  _refuse_options(cell, carry_init=nn.initializers.zeros)
  options = {
    'dtype': cell.param_dtype if cell.dtype is None else cell.dtype,
    'param_dtype': cell.param_dtype,
  }
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
      f'{type(mixer).__name__} was given.'
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
        f'Mixers have {name}={value}, but this {type(module).__name__} has '
        f'{name}={given}.'
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
  if set(params) != set(expected):
    raise ValueError(
      f'The parameters must be {sorted(expected)}, but they are '
      f'{sorted(params)}.'
    )
  for name, leaf in expected.items():
    if params[name].shape != leaf.shape:
      raise ValueError(
        f'Parameter {name!r} must have shape {list(leaf.shape)}, with as many '
        f'inputs as features, but it has {list(params[name].shape)}.'
      )
  return params


def _params(variables: Mapping[str, Any]) -> Mapping[str, Any]:
  """Returns the collection that holds the weights."""
  if 'params' not in variables:
    raise ValueError(
      "Variables must be what `init` returns, with 'params' in them, but these "
      f'have {sorted(variables)}.'
    )
  return variables['params']
