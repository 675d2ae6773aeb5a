"""Writes the parameters of any model to a file, and reads them back.

    save_parameters('model.safetensors', variables)
    variables = load_parameters('model.safetensors', model)

A module for programs that have a model; not a program itself.
"""

import os
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax.traverse_util import flatten_dict

from seqjax.errors import misfits
from seqjax.models.size import variable_shapes
from seqjax.results import tensors


def save_parameters(
  path: str | os.PathLike,
  variables: Mapping[str, Any],
  header: Mapping[str, str] | None = None,
):
  """Writes a model's parameters to one file in the safetensors format.

  A tensor's name is the path of the parameter in the model, joined by dots, as
  in stack.blocks_0.mixer.recurrent; its shape and its dtype are the
  parameter's. The file is complete or absent, whenever the process ends.

  Args:
    path: of the file; it ends in .safetensors.
    variables: what the model's `init` returns, {'params': ...}.
    header: texts by name, which `results.tensors.read` gives back; a checksum
      is added to them.

  Raises:
    ValueError: the path cannot be written; there are variables other than
      parameters; an array has 64 bits where JAX has 32; or the header holds
      something that is no text.
    ModuleNotFoundError: the extra `export` is not installed.
  """
  header = dict(header or {})
  _check_collections('variables', variables)
  for name, text in header.items():
    if not isinstance(name, str) or not isinstance(text, str):
      raise ValueError(
        f'A header has texts by name, but {name!r}: {text!r} was given.'
      )
  if tensors.CHECKSUM in header:
    raise ValueError(
      f'The name {tensors.CHECKSUM!r} in a header is that of the checksum; '
      'choose another one.'
    )
  for name, leaf in _flat(variables['params']).items():
    dtype = np.asarray(leaf).dtype
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
      raise ValueError(
        f'The parameter {name} is {dtype}, of which JAX would keep 32 bits: '
        'convert it, or enable jax_enable_x64.'
      )
  tensors.write(variables['params'], header, path)


def load_parameters(
  path: str | os.PathLike, model: nn.Module, *inputs: Any
) -> dict[str, Any]:
  """Reads parameters that fit a model: names, shapes and dtypes are compared.

  Args:
    path: of a file that `save_parameters`, seqjax-export or another program has
      written, with names as in `save_parameters`.
    model: a mixer, one of the models that read tokens or values, or any other
      Linen module, with inputs.
    inputs: what a Linen module that is not of seqjax is initialised with.

  Returns:
    The variables, {'params': ...}, for `model.apply`.

  Raises:
    ValueError: there is no such file, or it is damaged; or a tensor is missing,
      unknown, or of another shape or dtype than the model's.
    ModuleNotFoundError: the extra `export` is not installed.

  Example:
    >>> import jax
    >>> import seqjax
    >>> mixer = seqjax.nn.GRU(8)
    >>> x = jax.numpy.ones((2, 5, 8))
    >>> variables = mixer.init(jax.random.key(0), x)
    >>> seqjax.save_parameters('gru.safetensors', variables, {'task': 'parity'})
    >>> variables = seqjax.load_parameters('gru.safetensors', mixer)
    >>> mixer.apply(variables, x).shape
    (2, 5, 8)
  """
  shapes = variable_shapes(model, *inputs)
  _check_collections(f'the variables of {type(model).__name__}', shapes)
  # Before the numbers are read, which JAX may convert from 64 bits.
  found = misfits(
    {
      name: f'{leaf.dtype} {list(leaf.shape)}'
      for name, leaf in _flat(shapes['params']).items()
    },
    tensors.described(path),
  )
  if found:
    raise ValueError(
      f'{str(path)!r} does not fit this {type(model).__name__}: {found}.'
    )
  params, _ = tensors.read(path)
  return {'params': params}


def _flat(params: Mapping[str, Any]) -> dict[str, Any]:
  return flatten_dict(dict(params), sep='.')


def _check_collections(what: str, variables: Mapping[str, Any]):
  """Raises ValueError unless there are parameters and nothing else."""
  if set(variables) != {'params'}:
    raise ValueError(
      "A file holds parameters alone, {'params': ...}, but "
      f'{what} have {sorted(variables)}.'
    )
