#!/bin/bash
export PATH=/shared/pilotune/bin:$PATH
export PILOTUNE_DRIVER_TIMEOUT=${PILOTUNE_DRIVER_TIMEOUT:-20}
export PILOTUNE_POOL=local
export PILOTUNE_GPU_TYPE=nvidia
umask 077

exec /shared/pilotune/bin/python -m pilotune.providers.node.agent /shared/runs/digits/20260102-030405-abcdef/blocks/local.json 0
