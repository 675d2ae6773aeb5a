"""Runs the cells of a grid in a pool of processes.

    for cell, why in cell_pool.run(program, [[cell] for cell in cells]):
      print(cell.folder, why or 'finished')

The output of a cell is written to log.txt in its folder. If a cell fails or its
process dies, other cells are not affected. Worker processes end with their
parent. So a sweep that was stopped for any reason can be resumed with the cells
that `waiting` returns.
"""

import collections
import contextlib
import gc
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import tqdm

from seqjax.launch import gpus, signals
from seqjax.results.records import finished

LOG = 'log.txt'
LINE_SECONDS = 10.0  # between two lines of progress, where there is no terminal
PATIENCE = 60.0  # seconds that a stopped process has to save its run


class Cell(NamedTuple):
  """A config, and the folder that its run is written to."""

  config: Any
  folder: str


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
  """Exits with a one-sentence message if a signal stops the process.

  The exit code is 130 for an interrupt, and 75 for SIGTERM, like that of a
  stopped cell. The same command resumes the sweep.
  """
  try:
    with _raising_on_sigterm():
      yield
  except KeyboardInterrupt as error:
    print(
      '\nStopped. Finished cells are kept; the same command resumes with the'
      ' others.',
      file=sys.stderr,
    )
    sys.exit(signals.PREEMPTED if isinstance(error, _Terminated) else 130)


class _Terminated(KeyboardInterrupt):
  """SIGTERM came."""


@contextlib.contextmanager
def _raising_on_sigterm() -> Iterator[None]:
  """Raises _Terminated on SIGTERM, which only the main thread hears."""

  def terminate(*_):
    raise _Terminated

  if threading.current_thread() is not threading.main_thread():
    yield
    return
  before = signal.signal(signal.SIGTERM, terminate)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def waiting(cells: Iterable[Cell]) -> tuple[list[Cell], list[tuple[Cell, str]]]:
  """Returns the unfinished cells; and those that cannot run, with the reasons.

  A folder that holds the run of another config is not written to.
  """
  left, refused = [], []
  for cell in cells:
    try:
      if finished(cell.folder, cell.config) is None:
        left.append(cell)
    except ValueError as error:
      refused.append((cell, str(error)))
  return left, refused


def listed(cells: Sequence[Cell]) -> str:
  """Returns a line for each cell: its number, its state, its folder."""
  left, refused = waiting(cells)
  states = {cell.folder: 'waiting' for cell in left}
  states |= {cell.folder: 'refused' for cell, _ in refused}
  return '\n'.join(
    f'{number:4d}  {states.get(cell.folder, "finished"):8s}  {cell.folder}'
    for number, cell in enumerate(cells)
  )


def numbered(cells: Sequence[Cell], number: str) -> Cell:
  """Returns a cell by its number; ValueError where there is none."""
  if not number.isdecimal() or int(number) >= len(cells):
    raise ValueError(
      f'The cells have the numbers 0 to {len(cells) - 1}, but cell={number} '
      'was given; --list prints them.'
    )
  return cells[int(number)]


def run(
  call: Callable[[Any, str], Any],
  groups: Iterable[Sequence[Cell]],
  *,
  processes: int = 1,
  cores: int | None = None,
  memory: int | None = None,
  apart: bool = False,
) -> Iterator[tuple[Cell, str | None]]:
  """Calls `call(config, folder)` for every cell of every group.

  Args:
    call: a function that another process can import. It must skip finished
      work, since a cell whose process died, or had no memory left, is retried
      once in a new process.
    groups: cells of a group are called one after the other and share a process,
      and with it what has been compiled, which the next group does not find.
    processes: how many run at a time. Each sees one GPU of those there are, in
      turn.
    cores: how many each process may use; None: all are shared evenly.
    memory: how many bytes of data a process may hold, where the system bounds
      them (Linux); None: all there are.
    apart: whether every group has a process of its own; otherwise one group
      follows another in the same.

  Yields:
    A cell that has ended, and why it failed, or None.

  Raises:
    ValueError: there are not so many cores.
  """
  queue = collections.deque(
    collections.deque(group) for group in groups if len(group)
  )
  idle = [
    _Worker(call, share, memory, gpu)
    for share, gpu in zip(
      shares(processes, cores),
      gpus.shared(processes, os.environ),
      strict=True,
    )
  ]  # a process each, from its first cell on
  busy, died = {}, set()
  try:
    while queue or busy:
      while queue and idle:
        worker, group = idle.pop(), queue.popleft()
        busy[worker.send(group)] = worker, group
      for pipe in multiprocessing.connection.wait(list(busy)):
        worker, group = busy.pop(pipe)
        idle.append(worker)
        cell, again = group[0], False
        try:
          why = pipe.recv()
        except (EOFError, OSError):
          why, lost = _cause(worker.stop()), True
        else:
          lost = why is not None and why.startswith(MemoryError.__name__)
        if lost:
          worker.stop()
          again = cell.folder not in died
          died.add(cell.folder)
        if not again:
          group.popleft()
        if group:  # next, and so in the process that has become idle
          queue.appendleft(group)
        elif apart:
          worker.stop()
        if not again:
          yield cell, why
  finally:
    workers = [*idle, *(worker for worker, _ in busy.values())]
    for worker in workers:
      worker.terminate()  # all of them, before one is waited for
    for worker in workers:
      worker.stop()


def watched(
  ended: Iterator[tuple[Cell, str | None]], total: int, waiting: int, name: str
) -> Iterator[tuple[Cell, str | None]]:
  """Yields what has ended, and shows how many cells are left.

  On a terminal as a bar; elsewhere as a line each LINE_SECONDS at most.

  Args:
    ended: what `run` yields.
    total: the number of cells, with those that had finished before.
    waiting: how many of them had not.
    name: stands before the bar.
  """
  bar = tqdm.tqdm(
    total=total,
    initial=total - waiting,
    desc=name,
    unit='cell',
    dynamic_ncols=True,
    smoothing=0,
    disable=not sys.stderr.isatty(),
  )
  began = shown = time.monotonic()
  with bar, contextlib.closing(ended):
    for done, (cell, why) in enumerate(ended, start=1):
      yield cell, why
      bar.set_postfix_str(os.path.basename(cell.folder)[:40], refresh=False)
      bar.update()
      now = time.monotonic()
      if bar.disable and (now - shown >= LINE_SECONDS or done == waiting):
        left = bar.format_interval((now - began) / done * (waiting - done))
        print(
          f'{name}: {total - waiting + done} of {total} cells, {left} left',
          file=sys.stderr,
          flush=True,
        )
        shown = now


def attempt(call: Callable[[Any, str], Any], cell: Cell) -> str | None:
  """Runs a cell in this process, logging its output; returns why it failed."""
  try:
    os.makedirs(cell.folder, exist_ok=True)
    with _printing_to(pathlib.Path(cell.folder) / LOG):
      try:
        call(cell.config, cell.folder)
      except Exception:  # reported, and the other cells continue
        traceback.print_exc()
        raise
  except Exception as error:
    return f'{type(error).__name__}: {error}'


def shares(processes: int, cores: int | None) -> list[set[int] | None]:
  """Returns the cores that each process may use; None stands for all.

  Raises:
    ValueError: there are not so many.
  """
  if processes < 1 or (cores is not None and cores < 1):
    raise ValueError(
      'A sweep has at least one process with at least one core, but '
      f'processes={processes} and cores={cores} were given.'
    )
  if not hasattr(os, 'sched_getaffinity'):
    return [None] * processes
  there = sorted(os.sched_getaffinity(0))
  if cores is None:
    alone = processes == 1 or processes > len(there)
    return [
      None if alone else set(there[i::processes]) for i in range(processes)
    ]
  if processes * cores > len(there):
    raise ValueError(
      f'{processes} processes of {cores} cores each need {processes * cores} '
      f'cores, but {len(there)} may be used here.'
    )
  return [set(there[i * cores :][:cores]) for i in range(processes)]


class _Worker:
  """A process that is sent cells and answers why they failed, or None."""

  def __init__(self, call, cores: set[int] | None, memory, gpu: str | None):
    self._call, self._cores, self._memory = call, cores, memory
    self._gpu = gpu
    self._process = self._group = None

  def send(
    self, group: Sequence[Cell]
  ) -> multiprocessing.connection.Connection:
    """Sends the next cell of a group, and whether the group is another one.

    Returns:
      The pipe of the answer, which a death closes.
    """
    if self._process is None:
      self._start()
    # If the process has died meanwhile, reading the pipe raises EOFError.
    with contextlib.suppress(OSError):
      self._pipe.send((group[0], group is not self._group))
    self._group = group
    return self._pipe

  def terminate(self):
    if self._process is not None:
      self._process.terminate()

  def stop(self) -> int | None:
    """Ends the process, returns its exit code; the next cell begins another."""
    if self._process is None:
      return None
    self._pipe.close()
    self._process.join(PATIENCE)
    self._process.kill()
    self._process.join()
    process, self._process = self._process, None
    return process.exitcode

  def _start(self):
    context = multiprocessing.get_context('spawn')
    self._pipe, theirs = context.Pipe()
    self._process = context.Process(
      target=_serve, args=(theirs, self._call, self._memory)
    )
    with _pinned(self._cores), gpus.seen(self._gpu):
      self._process.start()
    theirs.close()  # the process alone holds it, so that its end is seen


def _serve(pipe, call, memory: int | None):
  """Runs in a worker's process: calls what is sent until the pipe ends."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it terminates it
  threading.Thread(target=_end_with_parent, daemon=True).start()
  sys.stdout.reconfigure(line_buffering=True)  # what a kill leaves is read
  if memory is not None:
    _bound(memory)
  with contextlib.suppress(EOFError, OSError):  # nobody is there any more
    while True:
      cell, of_another_group = pipe.recv()
      if of_another_group:
        _forget_compiled()
      pipe.send(attempt(call, cell))


def _forget_compiled():
  """Frees what JAX has compiled for other groups.

  Each function takes maps of memory, of which a process has 65,530 on Linux:
  after about a hundred models an allocation fails, however much is free.
  """
  if 'jax' in sys.modules:
    sys.modules['jax'].clear_caches()
    gc.collect()


def _bound(memory: int):
  """Limits the memory of this process; allocations beyond it fail."""
  import resource  # which not every system has

  _, hard = resource.getrlimit(resource.RLIMIT_DATA)
  if hard == resource.RLIM_INFINITY or memory < hard:
    resource.setrlimit(resource.RLIMIT_DATA, (memory, hard))


def _end_with_parent():
  """Ends this process with its parent: two must never run one cell."""
  multiprocessing.parent_process().join()
  os.kill(os.getpid(), signal.SIGTERM)


def _cause(exit_code: int) -> str:
  """Returns the reason for which a process ended early."""
  if exit_code >= 0:
    return f'Its process ended with exit code {exit_code}.'
  name = signal.Signals(-exit_code).name
  return f'Its process was ended by {name}, most likely for lack of memory.'


@contextlib.contextmanager
def _pinned(cores: set[int] | None) -> Iterator[None]:
  """Within the context, new processes start pinned to these cores.

  Libraries make as many threads as there are cores when they are imported.
  """
  if cores is None:
    yield
    return
  before = os.sched_getaffinity(0)
  os.sched_setaffinity(0, cores)
  try:
    yield
  finally:
    os.sched_setaffinity(0, before)


@contextlib.contextmanager
def _printing_to(path: pathlib.Path) -> Iterator[None]:
  """Appends what this process prints, libraries too, to a file."""
  streams = {1: sys.stdout, 2: sys.stderr}
  kept = {number: os.dup(number) for number in streams}
  with open(path, 'a', encoding='utf-8') as file:
    try:
      for number, stream in streams.items():
        stream.flush()
        os.dup2(file.fileno(), number)
      yield
    finally:
      for number, stream in streams.items():
        stream.flush()
        os.dup2(kept[number], number)
        os.close(kept[number])
