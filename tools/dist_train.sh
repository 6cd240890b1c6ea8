#!/usr/bin/env bash
# Train on several processes of this machine: tools/dist_train.sh CONFIG PROCESSES [flags of tools/train.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR (of machine 0) and MASTER_PORT alike on each.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 CONFIG PROCESSES [flags of tools/train.py]" >&2; exit 2; }
config=$1 processes=$2
shift 2
exec "${PYTHON:-python}" -m torch.distributed.run --nnodes "${NNODES:-1}" --node-rank "${NODE_RANK:-0}" \
  --nproc-per-node "$processes" --master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "${MASTER_PORT:-29500}" \
  "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
