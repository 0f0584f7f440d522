#!/bin/sh
# Runs one rank of a trial on several nodes: rank.sh PROGRAM ARGUMENTS.
# On SIGTERM a launcher kills its ranks at once, but it passes SIGUSR1 on; here SIGUSR1 becomes the program's SIGTERM.
trap 'told=1; kill -TERM "$child"' USR1 TERM
(trap '' USR1; exec "$@") &
child=$!
status=127
while :; do
    told=
    wait "$child"
    now=$?
    [ "$now" -eq 127 ] && break  # the child is already collected
    status=$now
    [ -n "$told" ] || break
done
exit "$status"
