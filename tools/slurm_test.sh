#!/usr/bin/env bash
# Test through Slurm: torchrun on every node, which finds its peers through the first.
#     bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of tools/test.py]
# Environment: GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5 a GPU), SRUN_ARGS, PORT, PYTHON.
set -euo pipefail
if [ $# -lt 4 ]; then
    echo 'error: usage: bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments]' >&2
    exit 2
fi
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec bash "$tools/slurm_run.sh" "$1" "$2" "$tools/test.py" "${@:3}"
