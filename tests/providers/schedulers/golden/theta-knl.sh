#!/bin/bash
#COBALT -n 128
#COBALT -t 180
#COBALT --mode script
#COBALT -q default
#COBALT -A proj
#COBALT --jobname digits-abcdef-knl-0
#COBALT --attrs mcdram=cache:numa=quad:filesystems=home,theta-fs0

type module >/dev/null 2>&1 || . /etc/profile
module load miniconda-3 || exit
export PATH=/shared/pilotune/bin:$PATH
export PILOTUNE_DRIVER_TIMEOUT=${PILOTUNE_DRIVER_TIMEOUT:-30}
export PILOTUNE_POOL=knl
export PILOTUNE_GPU_TYPE=nvidia
umask 077
export PILOTUNE_WALLTIME=10800
export PILOTUNE_BLOCK_END=${COBALT_ENDTIME:-$(( $(date +%s) + 10800 ))}
echo "$PILOTUNE_BLOCK_END" > /shared/runs/digits/20260102-030405-abcdef/blocks/knl-0.end

trap : TERM
aprun -n 128 -N 1 -cc none -d 64 /shared/pilotune/bin/python -m pilotune.providers.node.agent /shared/runs/digits/20260102-030405-abcdef/blocks/knl.json 0
