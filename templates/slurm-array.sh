#!/bin/bash
#SBATCH --job-name=danlu
#SBATCH --array=0-15               # so many workers
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --signal=B:INT@120         # two minutes before the end: every trial is checkpointed, and other workers go on with it
#SBATCH --output=danlu-%A-%a.log
# Workers of a study that `danlu tune SPACE.toml DATA --store "$DANLU_STORE" --name "$DANLU_STUDY" --workers 0` created.
#   DANLU_STORE   postgres://me:password@host/danlu
#   DANLU_STUDY   name of the study
#   DANLU_RUNS    folder that all nodes see
#   DANLU_BUDGET  when a worker stops by itself (default 4h)
set -euo pipefail
danlu worker --store "$DANLU_STORE" --name "$DANLU_STUDY" --runs "$DANLU_RUNS" --budget "${DANLU_BUDGET:-4h}" &
worker=$!
# Slurm signals this shell; the worker must hear of it.
trap 'kill -TERM $worker' INT TERM
status=0
wait $worker || status=$?
# A trap interrupts the first wait before the worker has ended.
if kill -0 $worker 2>/dev/null; then wait $worker || status=$?; fi
# 130: stopped because it was asked to, with every trial checkpointed.
if [ $status = 130 ]; then exit 0; fi
exit $status
