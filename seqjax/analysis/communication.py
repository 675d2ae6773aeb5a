"""Bytes that devices send each other where positions are cut over them.

    python -m seqjax.analysis.communication

prints a table of the mixers, as docs/scale.md has it. What is counted are the
collective operations of the compiled program, those in loops as often as they
run. A device that takes part in a sum of S bytes over n devices sends 2 S (n -
1) / n, as in a ring (Patarasuk & Yuan, 2009); one that permutes sends what it
permutes.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, PartitionSpec

from seqjax.nn import MIXERS
from seqjax.nn.mixer import SequenceLayer, input_width
from seqjax.ops import over_time

_NAME = r'%?([\w.\-]+)'
_COMPUTATION = re.compile(rf'^(ENTRY )?{_NAME} \(.*\{{$')
_COLLECTIVE = re.compile(
  r'= (?P<shapes>\S.*?) (?P<operation>all-reduce|all-gather|reduce-scatter|'
  r'all-to-all|collective-permute)(?:-start)?\('
)
_SHAPE = re.compile(r'([a-z]+\d*)\[([\d,]*)\]')
_GROUP = re.compile(r'replica_groups=(?:\{\{([\d,]+)\}|\[\d+,(\d+)\])')
_PAIR = re.compile(r'\{(\d+),(\d+)\}')
_WHILE = re.compile(rf' while\(.*condition={_NAME}, body={_NAME}')
_TRIPS = re.compile(r'known_trip_count\D*(\d+)')
_CALLED = re.compile(
  rf'(?:to_apply|calls|true_computation|false_computation)={_NAME}'
)
_BRANCHES = re.compile(r'branch_computations=\{([^}]*)\}')

# Of the table: one row, a layer of this width, these positions per device.
DEVICES, FEATURES, LENGTH = 8, 1024, 1024
TABLE = {
  'mingru': {},
  'lru': {'state_size': FEATURES},
  'mamba': {},
  'gla': {'num_heads': 8},
  'mamba2': {'num_heads': 16, 'state_size': 128},
  'deltanet': {'num_heads': 8},
  'mlstm': {'num_heads': 8},
  'tcn': {},
  'gated_conv': {},
  'local_attention': {'num_heads': 8, 'window': 512},
  'attention': {'num_heads': 8, 'context': 2 * DEVICES * LENGTH},
  'lstm': {},
}
HEADER = 'mixer', 'forward', 'forward and backward', 'for twice the positions'


class Communication(NamedTuple):
  """Bytes that a device sends, the one that sends most.

  Attributes:
    forward: for the outputs.
    training: for the outputs, and the gradients of inputs.
    parameters: for sums of the gradients of parameters over the devices, which
      come on top, whatever the length of the sequence.
  """

  forward: int
  training: int
  parameters: int


class Collective(NamedTuple):
  """An operation in which devices send each other something.

  Attributes:
    operation: its name in XLA.
    shapes: (dtype, shape) of what it returns.
    sent: bytes that a device sends, each time.
    times: how often it runs.
  """

  operation: str
  shapes: tuple[tuple[str, tuple[int, ...]], ...]
  sent: int
  times: int


def communication(
  mixer: SequenceLayer,
  *,
  devices: int = 4,
  batch_size: int = 1,
  num_positions: int = 4096,
) -> Communication:
  """Counts what a mixer's call sends where `devices` share the positions.

  Nothing runs: the call and its gradients are compiled.

  Args:
    mixer: a mixer that can be cut, unbound.
    devices: how many parts; this process needs as many devices, which XLA makes
      of a CPU after `jax.config.update('jax_num_cpu_devices', devices)`.
    batch_size: rows, all of them on every device.
    num_positions: those of the whole rows, without segments.

  Raises:
    ValueError: this process has too few devices, the positions cannot be
      divided evenly, or the mixer cannot be cut.

  Example:
    >>> from seqjax.analysis.communication import communication
    >>> from seqjax.nn import MinGRU
    >>> communication(MinGRU(8), devices=1)
    Communication(forward=0, training=0, parameters=0)
  """
  programs = programs_of(mixer, devices, batch_size, num_positions)
  of_inputs, of_all = _of_inputs(programs), _of_all(programs)
  return Communication(
    _of_outputs(programs), of_inputs, max(of_all - of_inputs, 0)
  )


def collectives(function: Callable, *args: Any) -> list[Collective]:
  """Lists the collective operations of a function, compiled for `args`.

  Raises:
    ValueError: one of them is in a loop whose length is not known.
  """
  text = jax.jit(function).lower(*args).compile().as_text()
  bodies, entry = {}, None
  for line in text.splitlines():
    if found := _COMPUTATION.match(line):
      name = found[2]
      bodies[name] = []
      entry = name if found[1] else entry
    elif bodies:
      bodies[name].append(line)
  return _found(bodies, entry, 1)


def markdown(names: tuple[str, ...] = tuple(TABLE)) -> str:
  """Returns the table of the mixers named, as Markdown."""
  lines = [HEADER, ('---',) * len(HEADER)]
  for name in names:
    lines.append((f'`{name}`', *_cells(MIXERS[name](FEATURES, **TABLE[name]))))
  return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def _cells(mixer) -> tuple[str, ...]:
  """Returns what the table says of a mixer."""
  short, long = (
    programs_of(mixer, DEVICES, 1, times * DEVICES * LENGTH) for times in (1, 2)
  )
  forward, training = _of_outputs(short), _of_inputs(short)
  ratio = _of_inputs(long) / max(training, 1)
  more = 'as much' if ratio < 1.01 else f'{ratio:.2g} times as much'
  return _size(forward), _size(training), more


def programs_of(mixer, devices, batch_size, num_positions):
  """Returns the call, its gradients of inputs and parameters, and arguments."""
  if jax.device_count() < devices:
    raise ValueError(
      f'communication needs {devices} devices to compile for, but this process '
      f'has {jax.device_count()}; XLA makes more of a CPU after '
      f"jax.config.update('jax_num_cpu_devices', {devices}), before anything "
      'is computed.'
    )
  if num_positions % devices:
    raise ValueError(
      f'num_positions={num_positions} cannot be divided over devices={devices} '
      'evenly; make it a multiple.'
    )
  mesh = jax.make_mesh(
    (devices,),
    (over_time.AXIS,),
    axis_types=(AxisType.Auto,),
    devices=jax.devices()[:devices],
  )
  cut = PartitionSpec(None, over_time.AXIS)
  apply = jax.shard_map(
    mixer.apply,
    mesh=mesh,
    in_specs=(PartitionSpec(), cut),
    out_specs=cut,
    check_vma=False,
  )
  shape = batch_size, num_positions, input_width(mixer)
  x = jax.ShapeDtypeStruct(shape, mixer.dtype)
  variables = jax.eval_shape(mixer.init, jax.random.key(0), x)
  x = jax.ShapeDtypeStruct(
    shape, mixer.dtype, sharding=jax.NamedSharding(mesh, cut)
  )

  def gradient(variables, x):
    y, pullback = jax.vjp(apply, variables, x)
    of_variables, of_x = pullback(y)
    return (y, of_x), of_variables

  return apply, gradient, (variables, x)


def _of_outputs(programs) -> int:
  apply, _, arguments = programs
  return _total(apply, arguments)


def _of_inputs(programs) -> int:
  _, gradient, arguments = programs
  return _total(lambda *given: gradient(*given)[0], arguments)


def _of_all(programs) -> int:
  _, gradient, arguments = programs
  return _total(gradient, arguments)


def _total(function, arguments) -> int:
  return sum(c.sent * c.times for c in collectives(function, *arguments))


def _found(bodies, name, times) -> list[Collective]:
  """Lists the collectives of a computation, and of those that it calls."""
  found = []
  for line in bodies.get(name, ()):
    if match := _COLLECTIVE.search(line):
      found.append(_collective(match, line, times))
    elif match := _WHILE.search(line):
      inside = _found(bodies, match[1], 1) + _found(bodies, match[2], 1)
      trips = _TRIPS.search(line)
      if inside and not trips:
        raise ValueError(
          'What devices send cannot be counted: they send something in a loop '
          'whose length is known only when it runs.'
        )
      found += [
        c._replace(times=c.times * times * int(trips[1])) for c in inside
      ]
    elif match := _BRANCHES.search(line):
      names = re.findall(_NAME, match[1])
      branches = [_found(bodies, branch, times) for branch in names]
      found += max(branches, key=lambda b: sum(c.sent * c.times for c in b))
    else:
      for called in _CALLED.findall(line):
        found += _found(bodies, called, times)
  return found


def _collective(match, line, times) -> Collective:
  shapes = tuple(
    (dtype, tuple(map(int, filter(None, sizes.split(',')))))
    for dtype, sizes in _SHAPE.findall(match['shapes'])
  )
  size = sum(int(np.prod(shape)) * _itemsize(dtype) for dtype, shape in shapes)
  operation = match['operation']
  if operation == 'collective-permute':
    pairs = _PAIR.findall(line.partition('source_target_pairs=')[2])
    moved = any(source != target for source, target in pairs)
    return Collective(operation, shapes, size * moved, times)
  group = _GROUP.search(line)
  members = len(group[1].split(',')) if group[1] else int(group[2])
  # What a member of a ring sends, given the size of what it is left with.
  share = {
    'all-reduce': 2 * (members - 1) / members,
    'all-gather': (members - 1) / members,
    'all-to-all': (members - 1) / members,
    'reduce-scatter': members - 1,
  }[operation]
  return Collective(operation, shapes, round(size * share), times)


def _itemsize(dtype: str) -> int:
  """Returns the bytes of a number, by its name in XLA."""
  return 1 if dtype == 'pred' else int(re.sub(r'\D', '', dtype)) // 8


def _size(count: int) -> str:
  """Writes a number of bytes with three digits."""
  for unit, bytes_of_it in (('GB', 1e9), ('MB', 1e6), ('kB', 1e3)):
    if count >= bytes_of_it:
      return f'{count / bytes_of_it:.3g} {unit}'
  return f'{count} B'


def main():
  """Prints the table, from as many devices as XLA makes of this CPU."""
  jax.config.update('jax_platforms', 'cpu')
  jax.config.update('jax_num_cpu_devices', DEVICES)
  print(markdown())


if __name__ == '__main__':
  main()
