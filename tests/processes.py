"""Programs in processes of their own, forked from one with the libraries.

Importing JAX and Flax takes two seconds, and forking a hundredth of one. The
process that is forked has never computed anything.
"""

import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parent.parent
_CONTEXT = multiprocessing.get_context('forkserver')
_CONTEXT.set_forkserver_preload(
  ['jax', 'flax.linen', 'optax', 'orbax.checkpoint', 'matplotlib.pyplot',
   'scipy.stats', 'seqjax.cli', 'seqjax.nn', 'seqjax.tasks', 'seqjax.results']
)  # fmt: skip


def call(module: str, *options: str, cwd=ROOT, timeout: float = 600):
  """Runs `python -m module options`.

  Returns:
    A `subprocess.CompletedProcess`: exit code, output and errors.
  """
  with tempfile.TemporaryDirectory() as folder:
    said = pathlib.Path(folder, 'stdout'), pathlib.Path(folder, 'stderr')
    process = _CONTEXT.Process(
      target=_run, args=(module, options, str(cwd), dict(os.environ), said)
    )
    process.start()
    process.join(timeout)
    process.kill()
    process.join()
    output, errors = (path.read_text(encoding='utf-8') for path in said)
  command = (module, *options)
  return subprocess.CompletedProcess(command, process.exitcode, output, errors)


def _run(module, options, cwd, environment, said):
  for number, path in enumerate(said, start=1):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
  os.environ.clear()
  os.environ.update(environment)
  os.chdir(cwd)
  sys.path[:] = [cwd, *(p for p in sys.path if p not in ('', str(ROOT)))]
  sys.argv = [module, *options]
  runpy.run_module(module, run_name='__main__', alter_sys=True)
