#!/bin/sh
# One rank of a trial on several nodes: rank.sh PROGRAM ARGUMENTS.
# Launchers that get SIGTERM kill their ranks, but hand SIGUSR1 on to them; here it becomes the program's SIGTERM.
trap 'told=1; kill -TERM "$child"' USR1 TERM
(trap '' USR1; exec "$@") &
child=$!
status=127
while :; do
    told=
    wait "$child"
    now=$?
    [ "$now" -eq 127 ] && break  # not there, or seen at its end already
    status=$now
    [ -n "$told" ] || break
done
exit "$status"
