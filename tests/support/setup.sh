#!/bin/sh
# What the tests need beside Python packages: PostgreSQL's server programs and Slurm with munge and its accounting on
# MariaDB (the tests start servers of their own from them), Lmod, zsh, for its completion, strace, tmux, as a
# terminal, Chromium, as a browser, and two MPI libraries with their mpiexec.
set -eu

has() {
    for program in "$@"; do
        command -v "$program" >/dev/null 2>&1 || return 1
    done
}

missing=""
if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && ! has initdb; then
    missing="postgresql"
fi
has slurmctld slurmd sbatch munged || missing="$missing slurm-wlm munge"
has slurmdbd mariadbd mariadb-install-db || missing="$missing slurmdbd mariadb-server"
has ip nsenter unshare || missing="$missing iproute2 util-linux"
has zsh || missing="$missing zsh"
has strace || missing="$missing strace"
has chromium || missing="$missing chromium"
has mpiexec.hydra || missing="$missing mpich"
has mpiexec.openmpi || missing="$missing openmpi-bin"
has tmux || missing="$missing tmux"
[ -r /usr/share/lmod/lmod/init/bash ] || missing="$missing lmod"
if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! has apt-get; then
    echo "Not installed, and this user cannot install it: $missing; the tests that need it are skipped."
    exit 0
fi
echo "Installing for the tests: $missing"
# Only the programs are wanted: without this, some packages start a server for the whole machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  # a list of packages
apt-get install -y -qq --no-install-recommends $missing >/dev/null
