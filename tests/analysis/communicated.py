"""Counts of what programs send, in a process that has several devices."""

from seqjax.analysis import communication
from seqjax.nn import MIXERS


def count(arguments):
  """Returns (forward, training, parameters) of a mixer, as plain numbers."""
  mixer, num_positions = arguments
  found = communication.communication(mixer, num_positions=num_positions)
  return tuple(found)


def shapes(arguments):
  """Returns the shapes that devices send in a call and its gradients."""
  mixer, num_positions = arguments
  _, gradient, arguments = communication.programs_of(mixer, 4, 2, num_positions)
  found = communication.collectives(gradient, *arguments)
  return [shape for c in found for _, shape in c.shapes]


def table(names):
  """Returns lines of the table."""
  return communication.markdown(names).splitlines()


def refusal(arguments):
  """Returns the sentence with which a number of positions is refused."""
  devices, num_positions = arguments
  try:
    communication.communication(
      MIXERS['mingru'](4), devices=devices, num_positions=num_positions
    )
  except ValueError as error:
    return str(error)
