#!/bin/bash

#SBATCH --job-name=digits-abcdef-cpu-0
#SBATCH --output=/shared/runs/digits/20260102-030405-abcdef/blocks/cpu-0.out
#SBATCH --error=/shared/runs/digits/20260102-030405-abcdef/blocks/cpu-0.err
#SBATCH --nodes=1
#SBATCH --time=120
#SBATCH --ntasks-per-node=1
#SBATCH --no-requeue
#SBATCH --account=proj
#SBATCH --exclusive
#SBATCH --cpus-per-task=256
#SBATCH --qos=regular
#SBATCH --constraint=cpu



export JOBNAME="digits-abcdef-cpu-0"

export PATH=/shared/pilotune/bin:$PATH
export PILOTUNE_DRIVER_TIMEOUT=${PILOTUNE_DRIVER_TIMEOUT:-30}
export PILOTUNE_POOL=cpu
export PILOTUNE_GPU_TYPE=nvidia
umask 077

export PILOTUNE_WALLTIME=7200
export PILOTUNE_BLOCK_END=${SLURM_JOB_END_TIME:-$(( $(date +%s) + 7200 ))}
echo "$PILOTUNE_BLOCK_END" > /shared/runs/digits/20260102-030405-abcdef/blocks/cpu-0.end

exec /shared/pilotune/bin/python -m pilotune.providers.node.agent /shared/runs/digits/20260102-030405-abcdef/blocks/cpu.json 0
