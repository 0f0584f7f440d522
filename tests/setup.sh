#!/bin/sh
# What the tests need beside Python packages: PostgreSQL's server programs. The tests start a server of their own from them.
set -eu

if ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "PostgreSQL is not installed, and this user cannot install it: the tests that need a real server are skipped."
    exit 0
fi
echo "Installing PostgreSQL for the tests that need a real server"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends postgresql >/dev/null
