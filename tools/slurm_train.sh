#!/usr/bin/env bash
# Train under Slurm: [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=8] tools/slurm_train.sh PARTITION JOB CONFIG [flags of tools/train.py]
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 PARTITION JOB CONFIG [flags of tools/train.py]" >&2; exit 2; }
partition=$1 job=$2 config=$3 gpus=${GPUS:-8}
shift 3
per_node=$(( gpus < ${GPUS_PER_NODE:-8} ? gpus : ${GPUS_PER_NODE:-8} ))
exec srun --partition "$partition" --job-name "$job" --ntasks "$gpus" --ntasks-per-node "$per_node" \
  --gres "gpu:$per_node" --cpus-per-task "${CPUS_PER_TASK:-8}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
  "${PYTHON:-python}" -u "$(dirname "$0")/train.py" "$config" --launcher slurm "$@"
