#!/bin/sh
# Installs OpenStack Swift, a real S3 server, into a virtual environment of its own: .services/swift.
set -eu
cd "$(dirname "$0")/../.."
venv=.services/swift
if [ ! -x "$venv/bin/swift-proxy-server" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --requirement tests/services/swift.txt
fi
