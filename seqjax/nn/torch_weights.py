"""Weights of torch's recurrent layers as those of ours, and back.

Nothing here needs torch: tensors are read as NumPy arrays.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.errors import MOST_LISTED
from seqjax.nn import weights as weights_lib
from seqjax.nn.recurrent_layers import RecurrentLayers
from seqjax.nn.rnn import GRU, LSTM, Elman, RecurrentMixer

# weight_ih_l0_reverse, say; cells have no layer in their names.
_NAME = re.compile(r'(weight|bias)_(ih|hh)(?:_l(\d+))?(_reverse)?')
_MIXERS = {1: Elman, 3: GRU, 4: LSTM}  # by the number of gates
_GATES = {mixer: gates for gates, mixer in _MIXERS.items()}
_ACCEPTED = (
  'torch.nn.RNN, LSTM and GRU, their cells, or the state dict of one of them'
)


class _Sizes(NamedTuple):
  """Sizes of layers, read off the shapes of torch's weights."""

  gates: int
  hidden: int
  inputs: int
  layers: int
  ways: int
  bias: bool


def from_torch(
  module: Any, *, prefix: str = '', activation: str = 'tanh'
) -> tuple[RecurrentLayers, dict[str, Any]]:
  """Returns the layers that compute what torch's do, and their variables.

  Outputs are torch's with `batch_first=True`. The carry that `unroll` returns
  has an entry per layer, or a pair of them where torch's are bidirectional:
  h_n is `hidden` of each entry of an LSTM, c_n is `cell`, and of the others the
  entry is h_n. Packed sequences are rows with lengths:
  `segments.from_lengths(lengths, T)` in `unroll`, `lengths=` in a call.

  Args:
    module: a torch.nn.RNN, LSTM or GRU of any number of layers, one way or both
      ways, or a cell of those; or its state dict, of tensors or of arrays.
    prefix: what stands before the names of these weights in a state dict, such
      as 'encoder.rnn.'; others are left out.
    activation: 'tanh' or 'relu', of a state dict of a torch.nn.RNN, which does
      not say it; of a module its own is taken.

  Raises:
    ValueError: it is none of those, it has projections (proj_size), or a weight
      is missing, unknown or of the wrong shape.

  Example:
    >>> import numpy as np
    >>> from seqjax.nn import from_torch
    >>> state = {
    ...   'weight_ih_l0': np.zeros((12, 5), np.float32),
    ...   'weight_hh_l0': np.zeros((12, 4), np.float32),
    ...   'bias_ih_l0': np.zeros(12, np.float32),
    ...   'bias_hh_l0': np.zeros(12, np.float32),
    ... }
    >>> model, variables = from_torch(state)
    >>> model.apply(variables, np.zeros((2, 7, 5), np.float32)).shape
    (2, 7, 4)
  """
  mode = getattr(module, 'mode', None) or getattr(module, 'nonlinearity', None)
  if isinstance(mode, str) and mode.lower().endswith('relu'):
    activation = 'relu'
  elif isinstance(mode, str) and mode.lower().endswith('tanh'):
    activation = 'tanh'
  arrays = _arrays(module, prefix)
  sizes = _sizes(arrays)
  weights_lib.check('layers of torch', arrays, _expected(sizes))
  model = _model(sizes, activation, _dtype(arrays))
  dropout = getattr(module, 'dropout', 0.0)
  if isinstance(dropout, float | int) and dropout:
    model = model.clone(dropout=float(dropout))
  params = {}
  for layer in range(sizes.layers):
    for way in ('forward', 'backward')[: sizes.ways]:
      suffix = f'_l{layer}' + ('_reverse' if way == 'backward' else '')
      params[f'{way}_{layer}'] = _converted(arrays, suffix, sizes)
  return model, {'params': params}


def to_torch(
  model: RecurrentLayers | RecurrentMixer, variables: Mapping[str, Any]
) -> dict[str, np.ndarray]:
  """Returns the state dict that torch's layers load, of NumPy arrays.

  `module.load_state_dict({k: torch.tensor(v) for k, v in state.items()})` loads
  it. Numbers of bfloat16, which torch does not read from NumPy, become float32.
  Where torch has two biases that are added, the second one is zero.

  Args:
    model: layers of one kind and size, of Elman, GRU or LSTM; or one of those
      mixers. A torch.nn.RNN needs the `nonlinearity` of Elman's `activation`.
    variables: what its `init` returns.

  Raises:
    ValueError: torch has no such layers, or a parameter does not fit.
  """
  if isinstance(model, RecurrentMixer):
    model = RecurrentLayers((model,))
    variables = {'params': {'forward_0': variables.get('params', {})}}
  kinds = {
    (type(mixer), mixer.features, getattr(mixer, 'activation', None))
    for mixer in model.mixers
  }
  kind = type(model.mixers[0])
  if len(kinds) > 1 or kind not in _GATES:
    raise ValueError(
      'torch has layers of Elman, GRU and LSTM, all of one kind, size and '
      f'activation, but these were given: {_listed(model)}.'
    )
  x = jnp.zeros((1, 1, model.input_features))
  expected = jax.eval_shape(model.init, jax.random.key(0), x)['params']
  params = variables.get('params', {})
  weights_lib.check('RecurrentLayers', _by_path(params), _by_path(expected))
  state = {}
  for name, weights in params.items():
    way, _, layer = name.partition('_')
    suffix = f'_l{layer}' + ('_reverse' if way == 'backward' else '')
    state |= _to_torch(weights, suffix)
  return state


def _arrays(module: Any, prefix: str) -> dict[str, np.ndarray]:
  """Returns the weights under their names, those of cells as of layer 0."""
  holds = hasattr(module, 'state_dict') and not isinstance(module, type)
  state = module.state_dict() if holds else module
  if not isinstance(state, Mapping):
    raise ValueError(
      f'from_torch takes {_ACCEPTED}, but a {type(module).__name__} was given; '
      'make an instance first.'
    )
  found, others = {}, []
  for name, tensor in state.items():
    if not name.startswith(prefix):
      continue
    parts = _NAME.fullmatch(name.removeprefix(prefix))
    if parts is None:
      others.append(name)
    else:
      what, source, layer, reverse = parts.groups()
      found[f'{what}_{source}_l{layer or 0}{reverse or ""}'] = _array(tensor)
  if others and any('weight_hr' in name for name in others):
    raise ValueError(
      'from_torch takes layers without projections, but these weights are of '
      f'one with proj_size: {others[:MOST_LISTED]}.'
    )
  if others or not found:
    given = (others or list(state))[:MOST_LISTED] or 'none'
    raise ValueError(
      f'from_torch takes the weights of {_ACCEPTED}, with names such as '
      f'{prefix}weight_ih_l0, but these were given: {given}; name what stands '
      "before them by prefix, as in prefix='encoder.rnn.'."
    )
  return found


def _array(tensor: Any) -> np.ndarray:
  """Reads a tensor, or anything that NumPy reads."""
  if hasattr(tensor, 'detach'):
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) == 'torch.bfloat16':  # which NumPy does not have
      return np.asarray(tensor.float().numpy(), jnp.bfloat16)
    return tensor.numpy()
  return np.asarray(tensor)


def _sizes(arrays: Mapping[str, np.ndarray]) -> _Sizes:
  """Reads sizes off the first layer, and the layers off the names."""
  for name in ('weight_ih_l0', 'weight_hh_l0'):
    if name not in arrays:
      raise ValueError(
        f'from_torch needs {name}, but the weights given are {sorted(arrays)}.'
      )
    if arrays[name].ndim != 2:
      raise ValueError(
        f'from_torch needs {name} to be a matrix, but its shape is '
        f'{list(arrays[name].shape)}.'
      )
  rows, hidden = arrays['weight_hh_l0'].shape
  if not hidden or rows % hidden or rows // hidden not in _MIXERS:
    raise ValueError(
      'from_torch needs weight_hh_l0 to have as many rows as columns (RNN), 3 '
      f'times (GRU) or 4 times (LSTM) as many, but its shape is '
      f'{[rows, hidden]}.'
    )
  return _Sizes(
    gates=rows // hidden,
    hidden=hidden,
    inputs=arrays['weight_ih_l0'].shape[1],
    layers=1 + max(int(re.search(r'_l(\d+)', name)[1]) for name in arrays),
    ways=2 if any(name.endswith('_reverse') for name in arrays) else 1,
    bias=any(name.startswith('bias') for name in arrays),
  )


def _expected(sizes: _Sizes) -> dict[str, tuple[int, ...]]:
  """Maps the names that torch has for these sizes to shapes."""
  shapes, rows = {}, sizes.gates * sizes.hidden
  for layer in range(sizes.layers):
    inputs = sizes.ways * sizes.hidden if layer else sizes.inputs
    for suffix in (f'_l{layer}', f'_l{layer}_reverse')[: sizes.ways]:
      shapes[f'weight_ih{suffix}'] = rows, inputs
      shapes[f'weight_hh{suffix}'] = rows, sizes.hidden
      if sizes.bias:
        shapes[f'bias_ih{suffix}'] = shapes[f'bias_hh{suffix}'] = (rows,)
  return shapes


def _dtype(arrays: Mapping[str, np.ndarray]) -> np.dtype:
  """Returns the common dtype, at most the largest that JAX has now."""
  return jnp.asarray(next(iter(arrays.values()))).dtype


def _model(sizes: _Sizes, activation: str, dtype: np.dtype) -> RecurrentLayers:
  kind = _MIXERS[sizes.gates]
  options = {'activation': activation} if kind is Elman else {}
  options |= {'dtype': dtype, 'param_dtype': dtype}
  widths = [sizes.inputs] + [sizes.ways * sizes.hidden] * (sizes.layers - 1)
  mixers = tuple(
    kind(sizes.hidden, input_features=width, **options) for width in widths
  )
  return RecurrentLayers(mixers, bidirectional=sizes.ways == 2)


def _converted(arrays, suffix: str, sizes: _Sizes) -> dict[str, jax.Array]:
  """Kernels are transposed, and biases added; a GRU keeps one of them apart."""
  zeros = np.zeros(sizes.gates * sizes.hidden, arrays['weight_ih_l0'].dtype)
  before, after = (
    arrays.get(f'bias_{source}{suffix}', zeros) for source in ('ih', 'hh')
  )
  weights = {
    'input': arrays[f'weight_ih{suffix}'].T,
    'recurrent': arrays[f'weight_hh{suffix}'].T,
  }
  if _MIXERS[sizes.gates] is GRU:  # the last block is inside the reset gate
    gates = 2 * sizes.hidden
    weights['bias'] = np.concatenate(
      [before[:gates] + after[:gates], before[gates:]]
    )
    weights['candidate_bias'] = after[gates:]
  else:
    weights['bias'] = before + after
  return {name: jnp.asarray(array) for name, array in weights.items()}


def _to_torch(weights: Mapping[str, Any], suffix: str) -> dict[str, np.ndarray]:
  arrays = {name: np.asarray(array) for name, array in weights.items()}
  if arrays['bias'].dtype == jnp.bfloat16:
    arrays = {name: a.astype(np.float32) for name, a in arrays.items()}
  second = np.zeros_like(arrays['bias'])
  if 'candidate_bias' in arrays:
    second[-len(arrays['candidate_bias']) :] = arrays['candidate_bias']
  return {
    f'weight_ih{suffix}': arrays['input'].T,
    f'weight_hh{suffix}': arrays['recurrent'].T,
    f'bias_ih{suffix}': arrays['bias'],
    f'bias_hh{suffix}': second,
  }


def _by_path(params: Mapping[str, Any]) -> dict[str, Any]:
  """Flattens layers and their parameters to 'forward_0.input'."""
  return {
    f'{layer}.{name}': array
    for layer, weights in params.items()
    for name, array in weights.items()
  }


def _listed(model: RecurrentLayers) -> str:
  return ', '.join(
    f'{type(mixer).__name__}({mixer.features})' for mixer in model.mixers
  )
