#!/usr/bin/env bash
# Shared by slurm_train.sh and slurm_test.sh: one torchrun per node, one process per GPU.
#     bash tools/slurm_run.sh PARTITION JOB_NAME SCRIPT [arguments]
set -euo pipefail
partition=$1
job=$2
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-8}
if [ "$per_node" -gt "$gpus" ]; then per_node=$gpus; fi
export PYTHON=${PYTHON:-python} PORT=${PORT:-29500} PER_NODE=$per_node
nodes=$(((gpus + per_node - 1) / per_node))
if [ "$(basename "$3")" = train.py ]; then # once, before Slurm gives any node
    WORLD_SIZE=$((nodes * per_node)) "$PYTHON" "${@:3}" --only-check
fi
# Expanded on the nodes, not here: each asks Slurm who the first node is.
# shellcheck disable=SC2016
node='exec "$PYTHON" -m torch.distributed.run --nnodes="$SLURM_NNODES" \
    --node_rank="$SLURM_NODEID" --nproc_per_node="$PER_NODE" --master_port="$PORT" \
    --master_addr="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)" \
    "$@" --launcher pytorch'
# SRUN_ARGS holds several words on purpose.
# shellcheck disable=SC2086
exec srun -p "$partition" --job-name="$job" --gres="gpu:$per_node" \
    --nodes="$nodes" --ntasks-per-node=1 \
    --cpus-per-task="$((${CPUS_PER_TASK:-5} * per_node))" --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} bash -c "$node" node "${@:3}"
