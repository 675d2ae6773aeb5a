"""Writes the parameters of a run to one file in the safetensors format.

    seqjax-export --workdir=runs/train --to=model.safetensors

Every parameter is a tensor whose name is its path in the model, joined by dots,
as in stack.blocks_0.mixer.recurrent; its shape and its dtype are the
parameter's. The header holds the options of the run, so that
seqjax.load_run('model.safetensors') gives the model with them back.
"""

import dataclasses
import json
import pathlib

import jax

from seqjax import experiment
from seqjax.cli import trained
from seqjax.experiment import option
from seqjax.launch import exits
from seqjax.results import environment, tensors


@dataclasses.dataclass(frozen=True)
class Config:
  """The options of an export."""

  to: str = option(
    'model.safetensors', 'Path of the file to write; it ends in .safetensors.'
  )
  checkpoint: str = option(
    'newest',
    'Checkpoint to export: newest, best (in validation), or its step.',
  )


def run(config: Config, workdir: str) -> pathlib.Path:
  """Writes the file; prints its path and the number of parameters."""
  experiment.validate(config)
  path = tensors.check_path(config.to)
  run_of = trained.load_trained(workdir, config.checkpoint)
  tensors.write(run_of.params, header(run_of), path)
  count = sum(leaf.size for leaf in jax.tree.leaves(run_of.params))
  print(f'{count} parameters of step {run_of.step} are in {path}.')
  return path


def header(run_of: trained.Trained) -> dict[str, str]:
  """Returns what it takes, beside the parameters, to make the model again."""
  return {
    'seqjax': environment.version('seqjax'),
    'config': json.dumps(experiment.to_dict(run_of.config)),
    'step': str(run_of.step),
    'fitted': json.dumps(run_of.fitted),
  }


def main():
  """Exports what the command line says."""
  experiment.launch(Config, exits.guarded()(run), workdir='runs/train')


if __name__ == '__main__':
  main()
