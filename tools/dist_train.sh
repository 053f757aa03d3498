#!/usr/bin/env bash
# Train with several processes on this machine, or on NNODES of them.
#     bash tools/dist_train.sh CONFIG PROCESSES [arguments of tools/train.py]
# The processes of all nodes share the config's total batch, auto_scale_lr.base_batch_size, unless
# --auto-scale-lr or "--cfg-options train_dataloader.batch_size=N" is given.
# Environment: NNODES, NODE_RANK, MASTER_ADDR, PORT, PYTHON, and MAX_RESTARTS: how often a job that
# lost a process is restarted, and continues where it was with "--resume auto".
set -euo pipefail
if [ $# -lt 2 ]; then
    echo 'error: usage: bash tools/dist_train.sh CONFIG PROCESSES [arguments]' >&2
    exit 2
fi
config=$1
processes=$2
for count in "$processes" "${NNODES:-1}"; do
    if ! [[ $count =~ ^[1-9][0-9]*$ ]]; then
        echo "error: PROCESSES and NNODES must be whole numbers, 1 or more, not $count" >&2
        exit 2
    fi
done
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
here=
if [ "${NNODES:-1}" = 1 ]; then
    here=--local-addr=127.0.0.1 # not every machine can resolve its own name
fi
# A restart needs c10d and a separate store: in a shared one it finds the addresses of the
# processes that are gone, and waits for them (pytorch/pytorch issue 135712).
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
# Once, before the first process starts: torchrun would end in a page of tracebacks.
WORLD_SIZE=$((${NNODES:-1} * processes)) LOCAL_WORLD_SIZE=$processes \
    "${PYTHON:-python}" "$tools/train.py" "$config" --divide-batch --only-check "${@:3}"
"${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" ${here:+"$here"} --rdzv_id=mmseg_pan \
    --rdzv_backend=c10d --rdzv_endpoint="${MASTER_ADDR:-127.0.0.1}:${PORT:-29500}" \
    --nproc_per_node="$processes" --max-restarts="${MAX_RESTARTS:-0}" \
    "$tools/train.py" "$config" --launcher pytorch --divide-batch "${@:3}"
