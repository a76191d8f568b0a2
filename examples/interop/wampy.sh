#!/usr/bin/env bash
# How does a script prove who it is with wampy's command line, on Node.js?
#
#     MYTICKET="secret123" examples/interop/wampy.sh client1             # WAMP-ticket
#     examples/interop/wampy.sh client01@example.com .keys/client01.key  # WAMP-cryptosign

set -euo pipefail
PATH="$(dirname "$0")/node_modules/.bin:$PATH"

# Each of wampy's options can come from the environment, where `ps` doesn't show it.
export WAMPY_URL="${ROUTER:-ws://localhost:8080/ws}" WAMPY_AUTHID="$1"
if [ $# -gt 1 ]; then
    export WAMPY_REALM=devices WAMPY_PRIVATE_KEY="$(od -An -v -tx1 "$2" | tr -d ' \n')"
else
    export WAMPY_REALM=realm1 WAMPY_TICKET="$MYTICKET"
fi
wampy call com.example.add2 --args 2 3 --verbose | grep -E '^ +(realm|authid|authrole):'
