#!/bin/bash
#COBALT -n 1
#COBALT -t 30
#COBALT --mode script
#COBALT -q default
#COBALT --jobname digits-abcdef-cpu-0

export PATH=/shared/pilotune/bin:$PATH
export PILOTUNE_DRIVER_TIMEOUT=${PILOTUNE_DRIVER_TIMEOUT:-30}
export PILOTUNE_POOL=cpu
export PILOTUNE_GPU_TYPE=nvidia
umask 077
export PILOTUNE_WALLTIME=1800
export PILOTUNE_BLOCK_END=${COBALT_ENDTIME:-$(( $(date +%s) + 1800 ))}
echo "$PILOTUNE_BLOCK_END" > /shared/runs/digits/20260102-030405-abcdef/blocks/cpu-0.end

exec /shared/pilotune/bin/python -m pilotune.providers.node.agent /shared/runs/digits/20260102-030405-abcdef/blocks/cpu.json 0
