#!/usr/bin/env bash
# Train through Slurm: torchrun on every node, which finds its peers through the first.
#     bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]
# The processes share the config's total batch, auto_scale_lr.base_batch_size, unless
# --auto-scale-lr or "--cfg-options train_dataloader.batch_size=N" is given.
# Environment: GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5 a GPU), SRUN_ARGS, PORT, PYTHON.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo 'error: usage: bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments]' >&2
    exit 2
fi
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec bash "$tools/slurm_run.sh" "$1" "$2" "$tools/train.py" "$3" --divide-batch "${@:4}"
