#!/bin/bash

#PBS -S /bin/bash
#PBS -N digits-abcdef-debug-0
#PBS -m n
#PBS -l walltime=01:00:00
#PBS -l select=1:ncpus=64:ngpus=4
#PBS -o /shared/runs/digits/20260102-030405-abcdef/blocks/debug-0.out
#PBS -e /shared/runs/digits/20260102-030405-abcdef/blocks/debug-0.err
#PBS -r n
#PBS -q debug
#PBS -A proj
#PBS -l filesystems=home:eagle
#PBS -l place=scatter

cd "$PBS_O_WORKDIR"

export JOBNAME="digits-abcdef-debug-0"

type module >/dev/null 2>&1 || . /etc/profile
module use /soft/modulefiles || exit
module load conda || exit
export TMPDIR=/tmp            # PBS's own is too long a path for Unix sockets
export PATH=/shared/pilotune/bin:$PATH
export PILOTUNE_DRIVER_TIMEOUT=${PILOTUNE_DRIVER_TIMEOUT:-30}
export PILOTUNE_POOL=debug
export PILOTUNE_GPU_TYPE=nvidia
umask 077
export PILOTUNE_WALLTIME=3600
export PILOTUNE_BLOCK_END=$(( $(date +%s) + 3600 ))
echo "$PILOTUNE_BLOCK_END" > /shared/runs/digits/20260102-030405-abcdef/blocks/debug-0.end

exec /shared/pilotune/bin/python -m pilotune.providers.node.agent /shared/runs/digits/20260102-030405-abcdef/blocks/debug.json 0

