#!/bin/sh
# Runs one rank of a trial on several nodes: rank.sh PROGRAM ARGUMENTS.
# On SIGTERM a launcher kills its ranks at once, but it passes SIGUSR1 on; here SIGUSR1 becomes the program's SIGTERM.
child= told=
trap 'told=1; [ -z "$child" ] || kill -TERM "$child"' USR1 TERM
(trap '' USR1; exec "$@") &
child=$!
[ -z "$told" ] || kill -TERM "$child"  # it was told before this script knew the program's id
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
