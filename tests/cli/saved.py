"""Runs as seqjax-train leaves them, without the time training takes."""

import json
import pathlib

from seqjax import experiment
from seqjax.cli import build, train
from seqjax.results.checkpoint import Checkpoints

SMALL = {'features': 8, 'layers': 1, 'context': 48, 'steps': 4, 'batch_size': 4}


def save(workdir: pathlib.Path, **options) -> train.Config:
  """A folder with a config and the checkpoint of a state at step 0."""
  config = train.Config(**{**SMALL, **options})
  workdir.mkdir()
  content = {'config': experiment.to_dict(config)}
  (workdir / 'config.json').write_text(json.dumps(content))
  with Checkpoints(workdir / train.CHECKPOINTS) as checkpoints:
    checkpoints.save(0, build.initial_state(config, *build.make(config)), {})
  return config
