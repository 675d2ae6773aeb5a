"""Describes the processor: two of one name can differ by a factor of three."""

import functools
import pathlib
import platform
from collections.abc import Mapping

CPUINFO = pathlib.Path('/proc/cpuinfo')
CACHES = pathlib.Path('/sys/devices/system/cpu/cpu0/cache')
# A flag of each instruction set, the widest first.
INSTRUCTION_SETS = {
  'avx512f': 'AVX-512',
  'avx2': 'AVX2',
  'avx': 'AVX',
  'sse2': 'SSE2',
  'sve': 'SVE',
  'asimd': 'NEON',
  'neon': 'NEON',
}


@functools.cache
def processor() -> dict[str, str]:
  """Returns what the system says of it; what it does not say is left out.

  `name`, `family`, `model`, `instruction_set` (the widest of its vectors) and
  `caches`, those of one core, as in 'L1 48K, L2 1024K, L3 32768K'.
  """
  known = described(_read(CPUINFO))
  known.setdefault('name', platform.processor() or platform.machine())
  return known | ({'caches': caches} if (caches := _caches()) else {})


def described(cpuinfo: str) -> dict[str, str]:
  """Returns the facts in a text that has the form of /proc/cpuinfo."""
  lines = [line.partition(':') for line in cpuinfo.splitlines()]
  first: dict[str, str] = {}
  for name, _, value in lines:
    first.setdefault(name.strip(), value.strip())
  flags = (first.get('flags') or first.get('Features') or '').split()
  widest = [name for flag, name in INSTRUCTION_SETS.items() if flag in flags]
  found = {
    'name': first.get('model name'),
    'family': first.get('cpu family'),
    'model': first.get('model'),
    'instruction_set': widest[0] if widest else None,
  }
  return {name: value for name, value in found.items() if value}


def short(known: Mapping[str, str]) -> str:
  """Returns a line that tells processors apart, for tables and figures.

  As in 'AMD EPYC (family 26, model 2, AVX-512, L2 1024K)'.
  """
  parts = [f'{x} {known[x]}' for x in ('family', 'model') if x in known]
  parts += [known[x] for x in ('instruction_set',) if x in known]
  caches = known.get('caches', '').split(', ')
  parts += [cache for cache in caches if cache.startswith('L2')]
  return known['name'] + (f' ({", ".join(parts)})' if parts else '')


def _caches() -> str:
  """Returns the sizes of the caches that data of one core go through."""
  found = {}
  for folder in sorted(CACHES.glob('index*')):
    level, kind, size = (_read(folder / x) for x in ('level', 'type', 'size'))
    if level and size and kind != 'Instruction':
      found[f'L{level}'] = size
  return ', '.join(f'{level} {size}' for level, size in found.items())


def _read(path: pathlib.Path) -> str:
  try:
    return path.read_text().strip()
  except (OSError, UnicodeDecodeError):
    return ''
