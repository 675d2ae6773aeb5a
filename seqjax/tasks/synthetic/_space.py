"""How many different examples it takes to hold some out."""

from typing import Any

HELD_OUT_BITS = 24


def check_space(task: Any, split: str):
  """Refuses to hold out examples that training is bound to see.

  `task.bits` is -log2 of the probability that two draws are the same example,
  or a lower bound of it.

  Raises:
    ValueError: validation or test examples are asked for, but the task has
      fewer than 24 bits.
  """
  if split != 'train' and task.bits < HELD_OUT_BITS:
    raise ValueError(
      f'{task} has {task.bits:.1f} bits of different examples, but '
      f'{HELD_OUT_BITS} are needed to hold some out for {split}: make them '
      'longer.'
    )
