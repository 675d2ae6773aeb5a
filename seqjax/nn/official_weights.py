"""Weights of Mamba-2 and RG-LRU as their authors store them, and back.

Names and shapes are those of the layers alone:

    Mamba-2  state-spaces/mamba at e9594ce, `mamba_ssm/modules/mamba2.py`
    RG-LRU   google-deepmind/recurrentgemma at 2efa84d, `jax/layers.py` and
             `torch/layers.py`

Everything here is NumPy on the host. Tensors of PyTorch go in as they are.
"""

import math
import statistics
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from seqjax.errors import MOST_LISTED
from seqjax.nn import weights as weights_lib
from seqjax.nn.linear_rnn import RGLRU
from seqjax.nn.mamba import Mamba2
from seqjax.nn.mixer import CausalMixer

# D features, E = expand * D, H heads, G groups, N states, L taps.
_MAMBA2_AXES = {
  'in_proj.weight': ('2 E + 2 G N + H', 'D'),
  'conv1d.weight': ('E + 2 G N', '1', 'L'),
  'conv1d.bias': ('E + 2 G N',),
  'dt_bias': ('H',),
  'A_log': ('H',),
  'D': ('H',),
  'norm.weight': ('E',),
  'out_proj.weight': ('D', 'E'),
}
_MAMBA2, _RGLRU = 'an official Mamba-2 layer', 'an official RG-LRU layer'
_MAMBA2_REFUSED = {
  'in_proj.bias': 'bias=True',
  'out_proj.bias': 'bias=True',
  'init_states': 'learnable_init_states=True',
}
_NO_LIMIT = (0.0, math.inf)

# K = D / H features a head.
_RGLRU_AXES = {
  'a_param': ('D',),
  'input_gate.w': ('H', 'K', 'K'),
  'input_gate.b': ('H', 'K'),
  'a_gate.w': ('H', 'K', 'K'),
  'a_gate.b': ('H', 'K'),
}
_RGLRU_GATES = {'input_gate': 'input_gate', 'a_gate': 'recurrence_gate'}


def mamba2_from_official(
  state_dict: Mapping[str, Any],
  prefix: str = '',
  *,
  num_groups: int = 1,
  norm_before_gate: bool = False,
  dt_limit: tuple[float, float] = _NO_LIMIT,
  dtype: Any = jnp.float32,
  param_dtype: Any = jnp.float32,
) -> tuple[Mamba2, dict[str, Any]]:
  """Returns the mixer that computes what an official Mamba-2 layer does.

  Features, expand, heads, states and taps are read off the shapes. The layout
  is that of state-spaces/mamba at e9594ce (`mamba_ssm/modules/mamba2.py`), with
  D features, E = expand * D, H heads, G groups, N states and L taps:

      in_proj.weight  [2 E + 2 G N + H, D]   rows are z, x, B, C, dt
      conv1d.weight   [E + 2 G N, 1, L]      the last tap meets position t
      conv1d.bias     [E + 2 G N]
      dt_bias, A_log, D  [H]
      norm.weight     [E]
      out_proj.weight [D, E]

  Refused are layers with bias=True, rmsnorm=False, D_has_hdim=True, a d_ssm
  below d_inner, learnable_init_states=True, norm_before_gate=True or a
  dt_limit. A layer with conv_bias=False is one with a conv1d.bias of zeros.

  Args:
    state_dict: tensors of PyTorch, NumPy or JAX by name.
    prefix: what the names begin with, as 'backbone.layers.0.mixer.'; all other
      names are skipped.
    num_groups: the official `ngroups`, which no shape tells.
    norm_before_gate: as the layer was built; only False can be represented.
    dt_limit: as the layer was built; only (0, inf) can be represented.
    dtype: of the mixer's arithmetic.
    param_dtype: of the returned parameters, to which the weights are converted.

  Returns:
    The mixer, and its variables as NumPy arrays.

  Raises:
    ValueError: a weight is missing, unknown, of the wrong shape or no floating
      point number; or the layer is one that `Mamba2` cannot represent.

  Example:
    >>> import jax
    >>> from seqjax import nn
    >>> x = jax.numpy.ones((2, 5, 8))
    >>> ours = nn.Mamba2(8, num_heads=4)
    >>> theirs = nn.mamba2_to_official(ours, ours.init(jax.random.key(0), x))
    >>> theirs['in_proj.weight'].shape
    (68, 8)
    >>> mixer, variables = nn.mamba2_from_official(theirs)
    >>> mixer.apply(variables, x).shape
    (2, 5, 8)
  """
  if norm_before_gate:
    raise ValueError(
      'Mamba2 gates before it normalizes, so that an official layer with '
      'norm_before_gate=True cannot be represented.'
    )
  if tuple(dt_limit) != _NO_LIMIT:
    raise ValueError(
      'Mamba2 does not limit its steps, so that an official layer with '
      f'dt_limit={tuple(dt_limit)} cannot be represented.'
    )
  weights = _chosen(state_dict, prefix, _MAMBA2_AXES)
  for name, option in _MAMBA2_REFUSED.items():
    if name in weights:
      raise ValueError(
        f'An official Mamba-2 layer with {option} cannot be represented: '
        f'{name} {_shape(weights[name])} has no place in Mamba2.'
      )
  _check_axes(_MAMBA2, weights, _MAMBA2_AXES)
  sizes = _mamba2_sizes(weights, num_groups)
  weights_lib.check(_MAMBA2, weights, sizes.shapes())
  mixer = Mamba2(
    sizes.features,
    num_heads=sizes.heads,
    state_size=sizes.states // num_groups,
    expand=sizes.inner // sizes.features,
    kernel_size=sizes.taps,
    num_groups=num_groups,
    dtype=dtype,
    param_dtype=param_dtype,
  )
  params = {
    'enter/kernel': weights['in_proj.weight'].T,
    # Torch correlates: its last tap meets the current position, as our first.
    'kernel': weights['conv1d.weight'][:, 0, ::-1].T,
    'bias': weights['conv1d.bias'],
    'decay/bias': weights['dt_bias'],
    'decay/log_rate': weights['A_log'],
    'skip': weights['D'],
    'norm/scale': weights['norm.weight'].reshape(num_groups, -1),
    'out/kernel': weights['out_proj.weight'].T,
  }
  return mixer, _variables(params, param_dtype)


def mamba2_to_official(
  mixer: CausalMixer, variables: Mapping[str, Any], prefix: str = ''
) -> dict[str, np.ndarray]:
  """Returns the weights of a Mamba2 in the official layout.

  Shapes are in `mamba2_from_official`. The layer that takes them is
  `mamba_ssm.modules.mamba2.Mamba2(d_model=D, d_state=N, d_conv=L,
  expand=expand, headdim=E / H, ngroups=G)`.

  Args:
    mixer: a Mamba2, without its weights.
    variables: what its `init` returns.
    prefix: what the returned names begin with.

  Returns:
    NumPy arrays by name; `torch.from_numpy` makes tensors of them.

  Raises:
    ValueError: the mixer is no Mamba2; or a parameter is missing, unknown or of
      the wrong shape.
  """
  params = _checked_params(mixer, Mamba2, variables)
  weights = {
    'in_proj.weight': params['enter/kernel'].T,
    'conv1d.weight': params['kernel'][::-1].T[:, None],
    'conv1d.bias': params['bias'],
    'dt_bias': params['decay/bias'],
    'A_log': params['decay/log_rate'],
    'D': params['skip'],
    'norm.weight': params['norm/scale'].reshape(-1),
    'out_proj.weight': params['out/kernel'].T,
  }
  return {prefix + name: _own(array) for name, array in weights.items()}


def rglru_from_official(
  params: Mapping[str, Any],
  prefix: str = '',
  *,
  dtype: Any = jnp.float32,
  param_dtype: Any = jnp.float32,
) -> tuple[RGLRU, dict[str, Any]]:
  """Returns the mixer that computes what an official RG-LRU layer does.

  The layout is that of google-deepmind/recurrentgemma at 2efa84d, with D
  features and H heads of K = D / H. Its Flax module nests dicts, its PyTorch
  module joins the same names by dots; either is taken:

      a_param                     [D]
      input_gate.w, a_gate.w      [H, K, K]   inputs before outputs
      input_gate.b, a_gate.b      [H, K]

  What lies around the layer in its block (linear_x, linear_y, conv_1d,
  linear_out) is not read. A layer with only_real=False is refused.

  Args:
    params: tensors of PyTorch, NumPy or JAX by name, nested or not.
    prefix: what the names begin with, joined by dots, as
      'blocks.0.recurrent_block.rg_lru.'; all other names are skipped.
    dtype: of the mixer's arithmetic.
    param_dtype: of the returned parameters, to which the weights are converted.

  Returns:
    The mixer, with a block a head, and its variables as NumPy arrays.

  Raises:
    ValueError: a weight is missing, unknown, of the wrong shape or no floating
      point number; or the layer has complex states.
  """
  weights = _chosen(_flat(params), prefix, _RGLRU_AXES)
  if 'a_imag_param' in weights:
    raise ValueError(
      'An official RG-LRU layer with only_real=False cannot be represented: '
      f'a_imag_param {_shape(weights["a_imag_param"])} has no place in RGLRU.'
    )
  _check_axes(_RGLRU, weights, _RGLRU_AXES)
  heads, size = weights['input_gate.b'].shape
  gate = {'w': (heads, size, size), 'b': (heads, size)}
  expected = {
    f'{name}.{part}': shape
    for name in _RGLRU_GATES
    for part, shape in gate.items()
  }
  weights_lib.check(_RGLRU, weights, {'a_param': (heads * size,)} | expected)
  mixer = RGLRU(
    heads * size, num_blocks=heads, dtype=dtype, param_dtype=param_dtype
  )
  # softplus(a_param) is -log a, and ours is softplus(-logit).
  ours = {'logit': -weights['a_param']}
  for name, gate in _RGLRU_GATES.items():
    kernel = weights[f'{name}.w']
    ours[f'{gate}/kernel'] = kernel[0] if heads == 1 else kernel
    ours[f'{gate}/bias'] = weights[f'{name}.b'].reshape(-1)
  return mixer, _variables(ours, param_dtype)


def rglru_to_official(
  mixer: CausalMixer, variables: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns the weights of an RGLRU in the official layout.

  Shapes are in `rglru_from_official`. The layer that takes them is
  `recurrentgemma.jax.layers.RGLRU(width=D, num_heads=num_blocks)`.

  Args:
    mixer: an RGLRU, without its weights; its `scale_first` is False.
    variables: what its `init` returns.

  Returns:
    NumPy arrays in nested dicts, as of the Flax module, for {'params': ...}.
    `flax.traverse_util.flatten_dict(..., sep='.')` gives PyTorch's names.

  Raises:
    ValueError: the mixer is no RGLRU, or one with the root at first positions;
      or a parameter is missing, unknown or of the wrong shape.
  """
  params = _checked_params(mixer, RGLRU, variables)
  if mixer.scale_first:
    raise ValueError(
      'The official RG-LRU has no root at the first position of a segment, but '
      'an RGLRU with scale_first=True was given.'
    )
  heads, weights = mixer.num_blocks, {'a_param': _own(-params['logit'])}
  size = mixer.features // heads
  for name, gate in _RGLRU_GATES.items():
    kernel, bias = params[f'{gate}/kernel'], params[f'{gate}/bias']
    weights[name] = {
      'w': _own(kernel.reshape(heads, size, size)),
      'b': _own(bias.reshape(heads, size)),
    }
  return weights


class _Mamba2Sizes(NamedTuple):
  """Sizes that follow from the shapes of a layer's weights.

  Attributes:
    states: G N, of all groups.
  """

  features: int
  inner: int
  heads: int
  states: int
  taps: int

  def shapes(self) -> dict[str, tuple[int, ...]]:
    convolved, heads = self.inner + 2 * self.states, (self.heads,)
    return {
      'in_proj.weight': (self.inner + convolved + self.heads, self.features),
      'conv1d.weight': (convolved, 1, self.taps),
      'conv1d.bias': (convolved,),
      'dt_bias': heads,
      'A_log': heads,
      'D': heads,
      'norm.weight': (self.inner,),
      'out_proj.weight': (self.features, self.inner),
    }


def _mamba2_sizes(
  weights: Mapping[str, np.ndarray], num_groups: int
) -> _Mamba2Sizes:
  """Reads the sizes off the shapes.

  Raises:
    ValueError: the layer is one that Mamba2 cannot represent.
  """
  features, inner = weights['out_proj.weight'].shape
  convolved, _, taps = weights['conv1d.weight'].shape
  # The most common of three lengths, so that a sentence names the other one.
  heads = statistics.mode(len(weights[x]) for x in ('dt_bias', 'A_log', 'D'))
  (normalized,) = weights['norm.weight'].shape
  if normalized != inner:
    raise ValueError(
      f'norm.weight is [{normalized}] where out_proj.weight, '
      f'{_shape(weights["out_proj.weight"])}, reads {inner} features; an '
      'official Mamba-2 layer with a d_ssm below d_inner, which has a gated '
      'perceptron beside its heads, cannot be represented.'
    )
  if weights['D'].shape == (inner,) and heads != inner:
    raise ValueError(
      f'D is [{inner}], but [{heads}] is expected, one number per head: an '
      'official Mamba-2 layer with D_has_hdim=True cannot be represented.'
    )
  if not features or inner % features:
    raise ValueError(
      'Mamba2 has a whole number of inner features per feature, but '
      f'out_proj.weight is {_shape(weights["out_proj.weight"])}.'
    )
  states, odd = divmod(convolved - inner, 2)
  if odd or states < 1 or num_groups < 1 or states % num_groups:
    raise ValueError(
      'conv1d.weight has E + 2 G N rows, E as in out_proj.weight '
      f'{_shape(weights["out_proj.weight"])} and G the number of groups, but '
      f'it is {_shape(weights["conv1d.weight"])}, which leaves '
      f'{convolved - inner} for num_groups={num_groups}.'
    )
  return _Mamba2Sizes(features, inner, heads, states, taps)


def _chosen(
  state_dict: Mapping[str, Any], prefix: str, known: Mapping[str, Any]
) -> dict[str, np.ndarray]:
  """Returns the weights below a prefix, as NumPy arrays of floats.

  Raises:
    ValueError: there are none of the known names, or an array holds no floats.
  """
  names = [name for name in state_dict if name.startswith(prefix)]
  if not {name.removeprefix(prefix) for name in names} & known.keys():
    first = next(iter(known))
    others = [x.removesuffix(first) for x in state_dict if x.endswith(first)]
    there = f'the names are {list(state_dict)[:MOST_LISTED]}'
    if others:
      there = f'the prefixes of such layers are {others[:MOST_LISTED]}'
    raise ValueError(
      f'There is no weight {prefix + first!r}, nor any other of such a layer; '
      f'{there}.'
    )
  return {
    name.removeprefix(prefix): _numpy(name, state_dict[name]) for name in names
  }


def _check_axes(
  layer: str,
  weights: Mapping[str, np.ndarray],
  axes: Mapping[str, tuple[str, ...]],
):
  """Raises ValueError unless there are all names, with as many axes."""
  expected = {
    name: weights[name]
    if name in weights and weights[name].ndim == len(letters)
    else letters
    for name, letters in axes.items()
  }
  weights_lib.check(layer, weights, expected)


def _checked_params(
  mixer: CausalMixer, kind: type[CausalMixer], variables: Mapping[str, Any]
) -> dict[str, np.ndarray]:
  """Returns the parameters by path, which must be those that the mixer has.

  Raises:
    ValueError: the mixer is of another kind, or a parameter is missing, unknown
      or of the wrong shape.
  """
  if type(mixer) is not kind:
    raise ValueError(
      f'The official layout is that of {kind.__name__}, but a '
      f'{type(mixer).__name__} was given.'
    )
  if 'params' not in variables:
    raise ValueError(
      "Variables must be what `init` returns, with 'params' in them, but these "
      f'have {sorted(variables)}.'
    )
  x = jax.ShapeDtypeStruct((1, 1, mixer.features), jnp.float32)
  shapes = jax.eval_shape(mixer.init, jax.random.key(0), x)['params']
  params = {
    name: _numpy(name, leaf)
    for name, leaf in _flat(variables['params'], '/').items()
  }
  weights_lib.check(kind.__name__, params, _flat(shapes, '/'))
  return params


def _flat(params: Mapping[str, Any], sep: str = '.') -> dict[str, Any]:
  return flatten_dict(dict(params), sep=sep)


def _variables(params: Mapping[str, np.ndarray], dtype: Any) -> dict[str, Any]:
  """Returns nested copies of arrays that were named by their paths."""
  converted = {
    name: np.array(x, dtype, order='C') for name, x in params.items()
  }
  return {'params': unflatten_dict(converted, sep='/')}


def _own(array: np.ndarray) -> np.ndarray:
  """Returns a copy that no longer depends on the memory of what was given."""
  return np.array(array, order='C')


def _numpy(name: str, tensor: Any) -> np.ndarray:
  """Returns a tensor of PyTorch, or any array, as one of NumPy.

  Raises:
    ValueError: it holds no floating point numbers, as quantized weights do.
  """
  if hasattr(tensor, 'detach'):
    tensor = tensor.detach().cpu()
    if 'bfloat16' in str(tensor.dtype):
      tensor = tensor.float()  # torch gives NumPy no bfloat16; this is exact
  array = np.asarray(tensor)
  if not jnp.issubdtype(array.dtype, jnp.floating):
    raise ValueError(
      f'Weights are floating point numbers, but {name} has the dtype '
      f'{array.dtype}.'
    )
  return array


def _shape(array: Any) -> str:
  return str(list(array.shape))
