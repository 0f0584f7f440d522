#!/bin/bash

#PBS -S /bin/bash
#PBS -N digits-abcdef-prod-0
#PBS -m n
#PBS -l walltime=02:00:00
#PBS -l select=1:ncpus=208
#PBS -o /shared/runs/digits/20260102-030405-abcdef/blocks/prod-0.out
#PBS -e /shared/runs/digits/20260102-030405-abcdef/blocks/prod-0.err
#PBS -r n
#PBS -q prod
#PBS -A proj
#PBS -l filesystems=home:flare
#PBS -l place=scatter

cd "$PBS_O_WORKDIR"

export JOBNAME="digits-abcdef-prod-0"

type module >/dev/null 2>&1 || . /etc/profile
module load frameworks || exit
export ZE_FLAT_DEVICE_HIERARCHY=FLAT      # tiles are devices 0 to 11, as ZE_AFFINITY_MASK then counts them
export TMPDIR=/tmp                        # PBS's own is too long a path for Unix sockets
export PATH=/shared/pilotune/bin:$PATH
export PILOTUNE_DRIVER_TIMEOUT=${PILOTUNE_DRIVER_TIMEOUT:-30}
export PILOTUNE_POOL=prod
export PILOTUNE_GPU_TYPE=intel
umask 077
export PILOTUNE_WALLTIME=7200
export PILOTUNE_BLOCK_END=$(( $(date +%s) + 7200 ))
echo "$PILOTUNE_BLOCK_END" > /shared/runs/digits/20260102-030405-abcdef/blocks/prod-0.end

trap : TERM
mpiexec -n 1 -ppn 1 --cpu-bind none /shared/pilotune/bin/python -m pilotune.providers.node.agent /shared/runs/digits/20260102-030405-abcdef/blocks/prod.json 0

