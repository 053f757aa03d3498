#!/usr/bin/env bash
# Test with several processes on this machine, or on NNODES of them.
#     bash tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [arguments of tools/test.py]
# Environment: NNODES, NODE_RANK, MASTER_ADDR, PORT, PYTHON.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo 'error: usage: bash tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [arguments]' >&2
    exit 2
fi
config=$1
checkpoint=$2
processes=$3
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
"${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    --nproc_per_node="$processes" \
    "$tools/test.py" "$config" "$checkpoint" --launcher pytorch "${@:4}"
