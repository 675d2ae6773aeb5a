"""The laws of mixers and of tasks: for our own, and for anybody's."""

from seqjax.testing.agreement import VACUOUS
from seqjax.testing.laws import LawBroken
from seqjax.testing.mixers import (
  CALL,
  CAUSALITY,
  CUTS,
  CUTTING,
  JIT,
  NO_SEGMENTS,
  PACKING,
  PADDING,
  PRECISION,
  STRUCTURE,
  UNROLL,
  VMAP,
  assert_mixer_contract,
)
from seqjax.testing.nnx_module import NNX
from seqjax.testing.not_finite import NOT_FINITE
from seqjax.testing.over_devices import OVER_DEVICES, assert_same_over_devices
from seqjax.testing.subject import (
  BATCH_SIZE,
  NUM_POSITIONS,
  reference_unroll,
  with_dtypes,
)
from seqjax.testing.tasks import (
  CEILING,
  CHANCE,
  DETERMINISM,
  ON_DEVICE,
  SHAPES,
  SPLIT,
  WEIGHTS,
  assert_task_contract,
)

__all__ = [
  'BATCH_SIZE',
  'CALL',
  'CEILING',
  'CHANCE',
  'DETERMINISM',
  'ON_DEVICE',
  'SHAPES',
  'SPLIT',
  'WEIGHTS',
  'assert_task_contract',
  'CAUSALITY',
  'CUTS',
  'CUTTING',
  'JIT',
  'NNX',
  'NOT_FINITE',
  'NO_SEGMENTS',
  'NUM_POSITIONS',
  'OVER_DEVICES',
  'PACKING',
  'PADDING',
  'PRECISION',
  'STRUCTURE',
  'UNROLL',
  'VACUOUS',
  'VMAP',
  'LawBroken',
  'assert_mixer_contract',
  'assert_same_over_devices',
  'reference_unroll',
  'with_dtypes',
]
