#!/bin/bash
#COBALT -n 1
#COBALT -t 60
#COBALT --mode script
#COBALT -q debug-cache-quad
#COBALT -A proj
#COBALT --jobname digits-abcdef-debug-0
#COBALT --attrs filesystems=home,theta-fs0

type module >/dev/null 2>&1 || . /etc/profile
module load miniconda-3 || exit
export PATH=/shared/pilotune/bin:$PATH
export PILOTUNE_DRIVER_TIMEOUT=${PILOTUNE_DRIVER_TIMEOUT:-30}
export PILOTUNE_POOL=debug
export PILOTUNE_GPU_TYPE=nvidia
umask 077
export PILOTUNE_WALLTIME=3600
export PILOTUNE_BLOCK_END=${COBALT_ENDTIME:-$(( $(date +%s) + 3600 ))}
echo "$PILOTUNE_BLOCK_END" > /shared/runs/digits/20260102-030405-abcdef/blocks/debug-0.end

trap : TERM
aprun -n 1 -N 1 -cc none -d 64 /shared/pilotune/bin/python -m pilotune.providers.node.agent /shared/runs/digits/20260102-030405-abcdef/blocks/debug.json 0
