"""Times the compilation of a layer's outputs and gradients, in a process.

python -m experiments.startup.compilation gla 256
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp

from experiments.startup import waits
from seqjax.analysis import timing
from seqjax.errors import Importable
from seqjax.nn import MIXERS, NONCAUSAL_MIXERS

BATCH, FEATURES = 4, 64
ENTRIES = Importable(
  'mixer',
  MIXERS | NONCAUSAL_MIXERS,
  'python -m experiments.startup --mixers=help lists them',
)


def rows(*, mixer: str, length: int, **_) -> list[dict[str, Any]]:
  """Returns the seconds of a new process, without those of its imports."""
  call = [sys.executable, '-m', __spec__.name, mixer, str(length)]
  return [{'what': 'compile', 'seconds': float(waits.run(call))}]


def seconds(mixer: str, length: int) -> float:
  """Returns what tracing, lowering and compiling take together.

  Of the mean square of the outputs and of its gradients for parameters and
  inputs, of a batch of 4 rows of 64 features.
  """
  layer = ENTRIES[mixer](FEATURES, length)
  x = jax.ShapeDtypeStruct((BATCH, length, FEATURES), jnp.float32)
  variables = jax.eval_shape(layer.init, jax.random.key(0), x)

  def loss(variables, x):
    return jnp.mean(jnp.square(layer.apply(variables, x)))

  gradients = jax.value_and_grad(loss, argnums=(0, 1))
  return timing.compile_seconds(gradients, variables, x)


if __name__ == '__main__':
  print(seconds(sys.argv[1], int(sys.argv[2])))
