#!/bin/bash

#SBATCH --job-name=digits-abcdef-gpu-0
#SBATCH --output=/shared/runs/digits/20260102-030405-abcdef/blocks/gpu-0.out
#SBATCH --error=/shared/runs/digits/20260102-030405-abcdef/blocks/gpu-0.err
#SBATCH --nodes=1
#SBATCH --time=120
#SBATCH --ntasks-per-node=1
#SBATCH --no-requeue
#SBATCH --exclusive
#SBATCH --cpus-per-task=128
#SBATCH --gpus-per-node=4
#SBATCH --qos=regular
#SBATCH --constraint=gpu
#SBATCH --account=proj_g



export JOBNAME="digits-abcdef-gpu-0"

export PATH=/shared/pilotune/bin:$PATH
export PILOTUNE_DRIVER_TIMEOUT=${PILOTUNE_DRIVER_TIMEOUT:-30}
export PILOTUNE_POOL=gpu
export PILOTUNE_GPU_TYPE=nvidia
umask 077

export PILOTUNE_WALLTIME=7200
export PILOTUNE_BLOCK_END=${SLURM_JOB_END_TIME:-$(( $(date +%s) + 7200 ))}
echo "$PILOTUNE_BLOCK_END" > /shared/runs/digits/20260102-030405-abcdef/blocks/gpu-0.end

exec /shared/pilotune/bin/python -m pilotune.providers.node.agent /shared/runs/digits/20260102-030405-abcdef/blocks/gpu.json 0
