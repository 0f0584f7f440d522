#!/bin/sh
# What the tests need beside Python packages: PostgreSQL's server programs (the tests start a server of their own from
# them) and zsh, for its completion.
set -eu

missing=""
if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && ! command -v initdb >/dev/null 2>&1; then
    missing="postgresql"
fi
command -v zsh >/dev/null 2>&1 || missing="$missing zsh"
if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "Not installed, and this user cannot install it: $missing; the tests that need it are skipped."
    exit 0
fi
echo "Installing for the tests: $missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  # a list of packages
apt-get install -y -qq --no-install-recommends $missing >/dev/null
