#!/bin/sh
# Solves for the temperature of a square plate that is heated at one edge, by successive over-relaxation (SOR).
# Which relaxation factor comes closest to the solution in a fixed number of sweeps? For this grid the best one is known:
# 2 / (1 + sin(pi / 25)) = 1.777 (Young 1954). Appends JSON lines to $PILOTUNE_REPORTS: a report every 10 sweeps, then the final value.
set -eu
omega=1.5 order=rows sweeps=80
while [ $# -gt 0 ]; do
    case "$1" in
        --omega) omega=$2 ;;
        --order) order=$2 ;;
        --sweeps) sweeps=$2 ;;
        *) echo "plate.sh: unknown option $1" >&2; exit 64 ;;
    esac
    shift 2
done

exec awk -v omega="$omega" -v order="$order" -v sweeps="$sweeps" -v reports="${PILOTUNE_REPORTS:-/dev/stdout}" '
function relax(i, j,    change) {
    change = (t[i-1, j] + t[i+1, j] + t[i, j-1] + t[i, j+1]) / 4 - t[i, j]
    t[i, j] += omega * change
}
function sweep(backward,    i, j, colour) {
    if (order == "red-black")
        for (colour = 0; colour < 2; colour++)
            for (i = 1; i < n; i++) for (j = 1 + (i + colour) % 2; j < n; j += 2) relax(i, j)
    else if (backward)
        for (i = n - 1; i > 0; i--) for (j = n - 1; j > 0; j--) relax(i, j)
    else
        for (i = 1; i < n; i++) for (j = 1; j < n; j++) relax(i, j)
}
function log10_residual(    i, j, r, sum) {
    for (i = 1; i < n; i++)
        for (j = 1; j < n; j++) {
            r = t[i-1, j] + t[i+1, j] + t[i, j-1] + t[i, j+1] - 4 * t[i, j]
            sum += r * r
        }
    return log(sqrt(sum) + 1e-300) / log(10)
}
BEGIN {
    n = 25
    for (i = 0; i <= n; i++) for (j = 0; j <= n; j++) t[i, j] = (i == 0 ? 100 : 0)
    for (s = 1; s <= sweeps; s++) {
        sweep(order == "symmetric" && s % 2 == 0)
        if (s % 10 == 0) {
            printf "{\"step\": %d, \"value\": %.6f}\n", s, log10_residual() >> reports
            fflush(reports)
        }
    }
    printf "{\"value\": %.6f}\n", log10_residual() >> reports
}'
