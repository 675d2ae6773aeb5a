#!/usr/bin/env bash
# Runs the cells of a sweep as the tasks of a SLURM array, one GPU each:
#
#   sbatch --array=0-5 scripts/slurm_array.sh --workdir=runs/parity \
#     --grid='task=parity;mixer=lstm,gru;seed=0,1,2'
#
# `seqjax-sweep --list ...` prints the numbers of the cells, and `--report` makes
# the tables. A task of seqjax-train is told two minutes before its time ends: it
# saves its run, ends with 75, and is put back into the queue, where it goes on
# from there.
#SBATCH --requeue
#SBATCH --signal=TERM@120
#SBATCH --open-mode=append
#SBATCH --ntasks=1
#SBATCH --gpus-per-task=1
#SBATCH --output=slurm-%A_%a.log
cell="${SLURM_ARRAY_TASK_ID:?is not set: submit it with --array=0-5, say}"
code=0
srun --ntasks=1 seqjax-sweep --cell="$cell" "$@" || code=$?
if [ "$code" -eq 75 ]; then
  exec scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
