"""Run a command as if the CPU had AVX2 only: no AVX-512, no AMX, no bf16 units. For testing what most laptops are like.

    python tools/slow_cpu.py .venv/bin/prefboost demo

The variables are read when torch is loaded, so they hold for the whole command and for what it starts. Float32 products
stay about as fast as AVX2 makes them; bf16 products become as slow as on such a CPU.
"""

from __future__ import annotations

import os
import sys

AVX2_ONLY = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels, and what `prefboost.devices` looks at
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # oneDNN, which multiplies bf16 matrices
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",  # MKL, which multiplies float32 matrices
}


def main(command: list[str]) -> int:
    """Replace this process by the command; 2 where none is given."""
    if not command:
        print("usage: python tools/slow_cpu.py COMMAND...", file=sys.stderr)
        return 2
    os.execvpe(command[0], command, {**os.environ, **AVX2_ONLY})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
