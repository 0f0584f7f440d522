#!/bin/bash

#SBATCH --job-name=digits-abcdef-debug-0
#SBATCH --output=/shared/runs/digits/20260102-030405-abcdef/blocks/debug-0.out
#SBATCH --error=/shared/runs/digits/20260102-030405-abcdef/blocks/debug-0.err
#SBATCH --nodes=1
#SBATCH --time=30
#SBATCH --ntasks-per-node=1
#SBATCH --no-requeue
#SBATCH --partition=batch
#SBATCH --account=proj
#SBATCH --exclusive
#SBATCH --cpus-per-task=56
#SBATCH --gpus-per-node=8
#SBATCH --qos=debug



export JOBNAME="digits-abcdef-debug-0"

export PATH=/shared/pilotune/bin:$PATH
export PILOTUNE_DRIVER_TIMEOUT=${PILOTUNE_DRIVER_TIMEOUT:-30}
export PILOTUNE_POOL=debug
export PILOTUNE_GPU_TYPE=amd
umask 077

export PILOTUNE_WALLTIME=1800
export PILOTUNE_BLOCK_END=${SLURM_JOB_END_TIME:-$(( $(date +%s) + 1800 ))}
echo "$PILOTUNE_BLOCK_END" > /shared/runs/digits/20260102-030405-abcdef/blocks/debug-0.end

exec /shared/pilotune/bin/python -m pilotune.providers.node.agent /shared/runs/digits/20260102-030405-abcdef/blocks/debug.json 0
