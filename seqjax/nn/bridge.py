"""An NNX module that holds the parameters of a Linen layer and calls it.

`seqjax.nn.nnx` has one for every entry of the catalogue, `seqjax.models.nnx`
one for models. A layer keeps its Linen module as a static attribute, and each
parameter as an `nnx.Param` under the name that it has in Linen. A method puts
the parameters together and applies the Linen module, so both compute the same.
"""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen
import jax
import jax.numpy as jnp
from flax import nnx
from flax.traverse_util import flatten_dict
from jaxtyping import Float, Int, Shaped

from seqjax.errors import unknown
from seqjax.nn import mixer as linen_layers
from seqjax.nn import weights as weights_lib
from seqjax.nn.mixer import input_width
from seqjax.ops import segments as segments_lib
from seqjax.typing import Array, Segments, Spec


class SequenceLayer(nnx.Module):
  """An NNX module that maps a sequence to another one of the same length.

  Attributes:
    linen_class: the Linen module that computes it, whose fields are the options
      of the NNX module and can be read from it.
  """

  linen_class: ClassVar[type[flax.linen.Module]] = linen_layers.SequenceLayer

  def __init__(self, *args: Any, rngs: Any = None, **options: Any):
    """Makes the parameters that Linen makes of the key `rngs.params()`.

    Args:
      args: the first options of the Linen module, in its order.
      rngs: `flax.nnx.Rngs`; its stream 'dropout' is for the dropout of models.
      options: other options, by name.

    Raises:
      ValueError: an option is not known or has no meaning, or `rngs` is not
        given.
    """
    # Parameters that exist already, for `from_linen`.
    variables = options.pop('_variables', None)
    self._check_options(args, options)
    module = self.linen_class(*args, **options, parent=None)
    if variables is None:
      key = self._parameter_key(rngs)
      variables = module.lazy_init({'params': key}, self._example(module))
      params = variables['params']
    else:
      params = _checked(module, variables, self._example(module))
    self._module = module
    self._names = tuple(sorted(params))
    for name, tree in params.items():
      setattr(self, name, _as_variables(tree))
    if _is_random(module):
      self.deterministic = False
      self.rngs = nnx.data(_dropout_stream(rngs))

  def __call__(
    self,
    x: Shaped[Array, 'B T *I'],
    segments: Segments | None = None,
    *,
    lengths: Int[Array, 'B'] | None = None,
  ) -> Float[Array, 'B *C']:
    """Computes the outputs, zero at padding."""
    segments = segments_lib.chosen(segments, lengths, x)
    return self._apply('__call__', x, segments)

  @classmethod
  def from_linen(
    cls, module: flax.linen.Module, variables: Mapping[str, Any], rngs=None
  ) -> 'SequenceLayer':
    """Returns the NNX module with the options and parameters of a Linen one.

    Args:
      module: an instance of `linen_class`, unbound.
      variables: what its `init` returns: {'params': ...}.
      rngs: `flax.nnx.Rngs` with a stream for dropout, if it is to be used.

    Raises:
      ValueError: the module is of another class, or a parameter is missing,
        unknown or of the wrong shape.
    """
    if type(module) is not cls.linen_class:
      raise ValueError(
        f'{cls.__name__}.from_linen reads a Linen module of the class '
        f'{_full_name(cls.linen_class)}, but {shown(module)} was given.'
      )
    options = {name: getattr(module, name) for name in fields(cls.linen_class)}
    return cls(**options, rngs=rngs, _variables=variables)

  def to_linen(self) -> tuple[flax.linen.Module, dict[str, Any]]:
    """Returns the Linen module, and its variables {'params': ...}."""
    return self._module, {'params': values(self)}

  def _apply(self, method: str, *args: Any, **options: Any) -> Any:
    """Calls a method of the Linen module with the parameters held here."""
    rngs = {}
    if not getattr(self, 'deterministic', True) and self.rngs is not None:
      rngs = {'dropout': self.rngs()}
    module, variables = self.to_linen()
    if not hasattr(self, '__captures__'):
      return module.apply(variables, *args, **options, rngs=rngs, method=method)
    # Inside nnx.capture, whatever Linen sows is sown here.
    options |= {'rngs': rngs, 'method': method, 'mutable': 'intermediates'}
    result, found = module.apply(variables, *args, **options)
    for name, value in found.get('intermediates', {}).items():
      self.sow(nnx.Intermediate, name, value, _latest, lambda: None)
    return result

  @classmethod
  def _example(cls, module: flax.linen.Module) -> Any:
    """Returns the shape and dtype of one position of a layer's inputs."""
    spec = getattr(module, 'input', None) or Spec((input_width(module),))
    return example(spec)

  @classmethod
  def _check_options(cls, args: tuple[Any, ...], options: dict[str, Any]):
    """Raises ValueError for what Linen would not refuse in one sentence."""
    known = fields(cls.linen_class)
    for name in options:
      if name not in known:
        raise ValueError(unknown(f'option of {cls.__name__}', name, known))
    given = dict(zip(known, args, strict=False)) | options
    for name, value in given.items():
      if isinstance(value, nnx.Rngs):
        raise ValueError(
          f'{cls.__name__} takes its keys by name, but nnx.Rngs was given in '
          f'the place of {name}; write rngs=.'
        )
      if isinstance(value, SequenceLayer):
        raise ValueError(
          f'{cls.__name__} makes all of its parameters itself, but {name} is '
          f'{shown(value)}, which has some; give {_linen_of(value)} instead.'
        )
    if isinstance(given.get('features'), flax.linen.Module):
      raise ValueError(
        f'{cls.__name__} reads features, a number, but '
        f'{shown(given["features"])} was given; '
        f'{cls.__name__}.from_linen(module, variables) makes an NNX module of '
        'a Linen one.'
      )

  @classmethod
  def _parameter_key(cls, rngs: Any) -> jax.Array:
    """Returns the next key of the stream for parameters.

    Raises:
      ValueError: there is no such stream.
    """
    if not isinstance(rngs, nnx.Rngs) or not {'params', 'default'} & set(rngs):
      given = 'nothing' if rngs is None else shown(rngs)
      if isinstance(rngs, nnx.Rngs):
        given = f'nnx.Rngs with the streams {sorted(rngs)}'
      raise ValueError(
        f'{cls.__name__} draws its parameters from rngs=, which is '
        "flax.nnx.Rngs with a stream 'params' or a default one, but "
        f'{given} was given; write rngs=nnx.Rngs(0).'
      )
    return rngs.params()

  def __setattr__(self, name: str, value: Any):
    if name in fields(self.linen_class) and not isinstance(value, nnx.Module):
      raise AttributeError(
        f'{name} of {type(self).__name__} is fixed when it is made; make '
        'another one.'
      )
    super().__setattr__(name, value)


class StreamingLayer(SequenceLayer):
  """An NNX module that reads whole sequences, or one position at a time.

  The carry goes in and comes out of every method; the module keeps none.
  """

  linen_class: ClassVar[type[flax.linen.Module]] = linen_layers.StreamingLayer

  def initialize_carry(self, batch_size: int) -> Any:
    """Makes the carry before the first position."""
    return self._module.initialize_carry(batch_size)

  def step(
    self, carry: Any, x_t: Shaped[Array, 'B *I']
  ) -> tuple[Any, Float[Array, 'B *C']]:
    """Reads one position; returns the next carry and the output."""
    return self._apply('step', carry, x_t)

  def unroll(
    self,
    carry: Any,
    x: Shaped[Array, 'B T *I'],
    segments: Segments | None = None,
  ) -> tuple[Any, Float[Array, 'B T *C']]:
    """Reads many positions; returns the last carry and all outputs."""
    return self._apply('unroll', carry, x, segments)

  @property
  def receptive_field(self) -> int | None:
    """The number of positions an output sees, itself included; None: all."""
    return self._module.receptive_field


def make_class(
  linen_class: type[flax.linen.Module],
  module: str,
  base: type[SequenceLayer] | None = None,
) -> type[SequenceLayer]:
  """Makes the NNX class of a Linen class.

  Args:
    linen_class: a subclass of `SequenceLayer` of `seqjax.nn`.
    module: where the new class is found, for `help` and for pickles.
    base: the class to derive from; None: `StreamingLayer` where the Linen class
      derives from that, else `SequenceLayer`.
  """
  if base is None:
    streams = issubclass(linen_class, linen_layers.StreamingLayer)
    base = StreamingLayer if streams else SequenceLayer
  name = linen_class.__name__
  said = inspect.getdoc(linen_class) or ''
  body = {
    '__module__': module,
    '__qualname__': name,
    '__doc__': f'{said}\n\n{_how_to_make(linen_class, module)}',
    '__signature__': _Signature(linen_class),
    'linen_class': linen_class,
  }
  for field in (*fields(linen_class), 'features'):
    if hasattr(linen_class, field) or field in fields(linen_class):
      if not hasattr(base, field):
        body[field] = _Field(field)
  return type(base)(name, (base,), body)


def fields(linen_class: type[flax.linen.Module]) -> list[str]:
  """Returns the names of a Linen module's options, without Flax's own."""
  names = [field.name for field in dataclasses.fields(linen_class)]
  return [name for name in names if name not in ('parent', 'name')]


class _Field:
  """A field of the Linen module, read from the NNX module.

  It gives way to an attribute of the NNX module: where a field is a layer, its
  parameters stand under the field's name.
  """

  def __init__(self, name: str):
    self.name = name
    self.__doc__ = f'The option {name}, which is fixed.'

  def __get__(self, layer: SequenceLayer | None, owner: type) -> Any:
    return self if layer is None else getattr(layer._module, self.name)


class _Signature:
  """The signature of a class, which its instances do not have.

  Without it, `help` would show that of NNX's metaclass: (*args, **kwargs).
  """

  def __init__(self, linen_class: type[flax.linen.Module]):
    known = inspect.signature(linen_class).parameters
    options = [known[name] for name in fields(linen_class)]
    rngs = inspect.Parameter(
      'rngs', inspect.Parameter.KEYWORD_ONLY, annotation=nnx.Rngs
    )
    self.signature = inspect.Signature([*options, rngs])

  def __get__(self, layer: SequenceLayer | None, owner: type):
    if layer is not None:
      raise AttributeError('__signature__')
    return self.signature


def _how_to_make(linen_class: type[flax.linen.Module], module: str) -> str:
  """Returns what the docstring says after that of the Linen class."""
  name = linen_class.__name__
  required = [
    option
    for option, parameter in inspect.signature(linen_class).parameters.items()
    if parameter.default is inspect.Parameter.empty
  ]
  options = ', '.join(required)
  return (
    f'As an NNX module of `{_full_name(linen_class)}`:\n\n'
    f'    layer = {module}.{name}({options}, rngs=flax.nnx.Rngs(0))\n'
    '    y = layer(x)\n'
  )


def _is_random(module: flax.linen.Module) -> bool:
  """Returns True if a layer, or one that it is made of, samples from a key."""
  options = {name: getattr(module, name) for name in fields(type(module))}
  if options.get('dropout') or options.get('kind') == 'random':
    return True
  for value in options.values():
    parts = value if isinstance(value, tuple) else (value,)
    if any(isinstance(p, flax.linen.Module) and _is_random(p) for p in parts):
      return True
  return False


def example(spec: Spec) -> jax.ShapeDtypeStruct:
  """Returns the shape and dtype of one position that a spec describes."""
  dtype = jnp.float32 if spec.vocab is None else jnp.int32
  return jax.ShapeDtypeStruct((1, 1, *spec.shape), dtype)


def _checked(
  module: flax.linen.Module, variables: Any, inputs: Any
) -> Mapping[str, Any]:
  """Returns the parameters, which must be those that the module has.

  Raises:
    ValueError: one is missing, unknown or of the wrong shape.
  """
  name = type(module).__name__
  if not isinstance(variables, Mapping) or 'params' not in variables:
    raise ValueError(
      f"Variables of {name} must be what `init` returns, with 'params' in "
      f'them, but {shown(variables)} was given.'
    )
  made = jax.eval_shape(lambda x: module.init(jax.random.key(0), x), inputs)
  expected = flatten_dict(made['params'], sep='/')
  given = flatten_dict(dict(variables['params']), sep='/')
  shapes = {path: jnp.shape(leaf) for path, leaf in given.items()}
  weights_lib.check(name, shapes, expected)
  return variables['params']


def _dropout_stream(rngs: nnx.Rngs | None) -> nnx.RngStream | None:
  """Returns a stream of its own for dropout; None if there is none."""
  if rngs is None or not {'dropout', 'default'} & set(rngs):
    return None
  return rngs['dropout'].fork()


def _as_variables(tree: Any) -> Any:
  """Makes a parameter of each leaf of a nested dictionary."""
  if not isinstance(tree, Mapping):
    return nnx.Param(jnp.asarray(tree))
  return nnx.Dict({name: _as_variables(part) for name, part in tree.items()})


def values(node: Any) -> Any:
  """Returns the values of a layer's parameters as Linen nests them."""
  if isinstance(node, nnx.Variable):
    return node.get_value()
  if isinstance(node, SequenceLayer):
    return {name: values(getattr(node, name)) for name in node._names}
  # Other attributes may be NNX's own, as during nnx.capture.
  kinds = nnx.Variable, nnx.Module
  return {k: values(v) for k, v in node.items() if isinstance(v, kinds)}


def _latest(old: Any, new: Any) -> Any:
  """Keeps what the latest call sowed."""
  return new


def _full_name(linen_class: type[flax.linen.Module]) -> str:
  """Returns the name by which users import a class."""
  package = linen_class.__module__
  if package.startswith(('seqjax.nn.', 'seqjax.models.')):
    package = package.rpartition('.')[0]
  return f'{package}.{linen_class.__qualname__}'


def _linen_of(layer: SequenceLayer) -> str:
  """Returns the code that makes the Linen module of a mixer."""
  features = getattr(layer, 'features', '...')
  return f'{_full_name(layer.linen_class)}({features})'


def shown(given: Any) -> str:
  """Describes an argument in a few words; modules print over many lines."""
  if isinstance(given, SequenceLayer):
    return f'the NNX module {type(given).__name__}(...)'
  if isinstance(given, flax.linen.Module):
    return f'the Linen module {type(given).__name__}(...)'
  if isinstance(given, type):
    return f'the class {given.__name__}'
  if isinstance(given, Mapping):
    return f'a dictionary of {sorted(given)}'
  return f'an object of type {type(given).__name__}'
